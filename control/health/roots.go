package health

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"time"
)

// Roots are authorities that may have signed a target's certificate.
type Roots struct {
	Sum string // of the file's content; names them

	pool *x509.CertPool
}

// rootsCache keeps what files held: ten thousand checks may share a file of a few hundred
// certificates.
var rootsCache struct {
	sync.Mutex
	files map[string]rootsFile
}

type rootsFile struct {
	changed time.Time
	size    int64
	roots   *Roots
}

// ReadRoots reads the certificates of a PEM file, or remembers those of a file that has
// not changed. It returns an error if the file cannot be read, or holds none.
func ReadRoots(path string) (*Roots, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	rootsCache.Lock()
	defer rootsCache.Unlock()
	if f, ok := rootsCache.files[path]; ok && f.is(info) {
		return f.roots, nil
	}
	pem, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no certificate in PEM", path)
	}
	sum := sha256.Sum256(pem)
	f := rootsFile{info.ModTime(), info.Size(), &Roots{Sum: hex.EncodeToString(sum[:]), pool: pool}}
	if rootsCache.files == nil {
		rootsCache.files = map[string]rootsFile{}
	}
	rootsCache.files[path] = f
	return f.roots, nil
}

func (f rootsFile) is(info fs.FileInfo) bool {
	return f.changed.Equal(info.ModTime()) && f.size == info.Size()
}
