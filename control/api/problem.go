package api

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/xlb-project/xlb/control"
	"github.com/xlb-project/xlb/control/config"
)

// Code names a kind of problem for programs. Codes are added, never renamed.
type Code string

// Codes.
const (
	CodeInvalid     Code = "invalid"     // a value or a whole configuration cannot be accepted
	CodeUnknown     Code = "unknown"     // no such service or backend
	CodeExists      Code = "exists"      // it is to be new, and is there already
	CodeConflict    Code = "conflict"    // somebody else made a change in between
	CodeRefused     Code = "refused"     // it takes service away from clients: only with force
	CodeForbidden   Code = "forbidden"   // whoever asks may not
	CodeNoRoute     Code = "no_route"    // nothing has that path
	CodeMethod      Code = "method"      // the path has other methods
	CodeTooLarge    Code = "too_large"   // of a body
	CodeUnsupported Code = "unsupported" // content type
	CodeTimeout     Code = "timeout"     // the request took too long to arrive, or its answer to come
	CodeEnded       Code = "ended"       // the daemon is shutting down
	CodeFailed      Code = "failed"      // it was tried and did not work; nothing has changed
)

var statusOf = map[Code]int{
	CodeInvalid:     http.StatusUnprocessableEntity,
	CodeUnknown:     http.StatusNotFound,
	CodeExists:      http.StatusPreconditionFailed,
	CodeConflict:    http.StatusConflict,
	CodeRefused:     http.StatusConflict,
	CodeForbidden:   http.StatusForbidden,
	CodeNoRoute:     http.StatusNotFound,
	CodeMethod:      http.StatusMethodNotAllowed,
	CodeTooLarge:    http.StatusRequestEntityTooLarge,
	CodeUnsupported: http.StatusUnsupportedMediaType,
	CodeTimeout:     http.StatusRequestTimeout,
	CodeEnded:       http.StatusServiceUnavailable,
	CodeFailed:      http.StatusInternalServerError,
}

// Problem is how a request failed: RFC 9457 with a code for programs, the object
// it is about, and what to do. errors.Is finds control's kinds of errors in it.
type Problem struct {
	Title  string  `json:"title" doc:"of the status"`
	Status int     `json:"status" doc:"as in the answer's first line"`
	Code   Code    `json:"code" doc:"what kind of problem, for programs"`
	Detail string  `json:"detail" doc:"what is wrong, for people"`
	Object string  `json:"object,omitempty" doc:"what it is about, such as service web or backend web/b1"`
	Remedy string  `json:"remedy,omitempty" doc:"what to do"`
	Errors []Fault `json:"errors,omitempty" doc:"all that is wrong with a configuration"`

	Since []control.Event `json:"since,omitempty" doc:"of a conflict, the changes after the revision that was named"`
}

// Fault is one thing that is wrong with a configuration.
type Fault struct {
	Line    int    `json:"line,omitempty"`
	Column  int    `json:"column,omitempty"`
	Message string `json:"message"`
	Remedy  string `json:"remedy,omitempty"`
}

func newProblem(code Code, detail, remedy string) *Problem {
	status := statusOf[code]
	return &Problem{Title: http.StatusText(status), Status: status, Code: code, Detail: detail, Remedy: remedy}
}

// Error returns what is wrong and what to do.
func (p *Problem) Error() string {
	if p.Remedy == "" {
		return p.Detail
	}
	return p.Detail + ": " + p.Remedy
}

// GetStatus returns the status of the answer.
func (p *Problem) GetStatus() int { return p.Status }

// ContentType returns what a problem is sent as.
func (p *Problem) ContentType(string) string { return "application/problem+json" }

// Is tells whether a problem is of one of control's kinds of errors.
func (p *Problem) Is(target error) bool {
	switch target {
	case control.ErrInvalid:
		return p.Code == CodeInvalid
	case control.ErrUnknown:
		return p.Code == CodeUnknown
	case control.ErrConflict:
		return p.Code == CodeConflict || p.Code == CodeExists
	case control.ErrRefused:
		return p.Code == CodeRefused
	case control.ErrEnded:
		return p.Code == CodeEnded
	case ErrForbidden:
		return p.Code == CodeForbidden
	}
	return false
}

// problemOf says how a request failed that err ended.
func problemOf(object string, err error) *Problem {
	var p *Problem
	if errors.As(err, &p) {
		return p
	}
	var faults config.Errors
	if errors.As(err, &faults) {
		p = newProblem(CodeInvalid, faults.Error(), "")
		for _, f := range faults {
			p.Errors = append(p.Errors, Fault{f.Line, f.Column, f.Message, f.Remedy})
		}
	} else {
		p = newProblem(codeOf(err), err.Error(), "")
	}
	p.Object = object
	return p
}

func codeOf(err error) Code {
	switch {
	case errors.Is(err, control.ErrInvalid):
		return CodeInvalid
	case errors.Is(err, control.ErrUnknown):
		return CodeUnknown
	case errors.Is(err, control.ErrConflict):
		return CodeConflict
	case errors.Is(err, control.ErrRefused):
		return CodeRefused
	case errors.Is(err, control.ErrEnded):
		return CodeEnded
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return CodeTimeout
	}
	return CodeFailed
}

// What the library finds wrong with a request is told as all problems are.
func init() { huma.NewError = requestProblem }

func requestProblem(status int, message string, errs ...error) huma.StatusError {
	details := []string{}
	for _, err := range errs {
		if err != nil {
			details = append(details, err.Error())
		}
	}
	if len(details) > 0 {
		message += ": " + strings.Join(details, "; ")
	}
	code := CodeFailed
	switch status {
	case http.StatusBadRequest, http.StatusUnprocessableEntity, http.StatusNotAcceptable:
		code = CodeInvalid
	case http.StatusRequestEntityTooLarge:
		code = CodeTooLarge
	case http.StatusUnsupportedMediaType:
		code = CodeUnsupported
	case http.StatusRequestTimeout:
		code = CodeTimeout
	}
	return &Problem{Title: http.StatusText(status), Status: status, Code: code, Detail: message}
}
