/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Tables are arrays: the JIT inlines their lookup, and Go fills them through
 * mmap. Their sizes are set at load time.
 */
#pragma once

#define TABLE(name_, row_)                             \
	struct {                                       \
		__uint(type, BPF_MAP_TYPE_ARRAY);      \
		__uint(map_flags, BPF_F_MMAPABLE);     \
		__uint(max_entries, 1);                \
		__type(key, __u32);                    \
		__type(value, row_);                   \
	} name_ SEC(".maps")
