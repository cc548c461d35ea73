/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What is fixed when the program is loaded. The verifier knows the values and
 * removes what they rule out.
 */
#pragma once

#include "lib/types.h"

/* Features that the configuration uses. */
const volatile bool use_l2 = true;
const volatile bool use_ipip = true;
const volatile bool use_redirect = true;

/* Flow hash constants, expanded from the configuration's key by Go. */
#define HASH_KEYS 8
const volatile __u64 hash_keys[HASH_KEYS];

/* Rows of `counters` per CPU. */
const volatile __u32 counter_rows = COUNTER_REASONS;
