/* SPDX-License-Identifier: ISC */
#include "tests/abi/layout.h"

#include "tests/abi/sink_abi1.h"

#define M LAYOUT_M
#define N LAYOUT_N
#define S LAYOUT_S
const struct layout layout_abi1[] = {
#include "tests/abi/layout_members.h"
	{ NULL, 0, 0 },
};
