/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * What anybody with access to the TPM can have written into the NV index of a slot: a host and a device that pass the
 * checks, or no identity at all; and never a reason that is more than a line.
 */
#include <config.h>

#include "daemon/slot-view.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

#define NAME "000b0000000000000000000000000000000000000000000000000000000000000000"

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
    fuzz_begin(NULL);
    return 0;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autofree char *text = size <= TPM_NV_TEXT_MAX ? fuzz_text(data, size) : NULL;
    const struct slot_view view = { .key = 1, .key_usable = true, .key_name = (char *)NAME,
                                    .nv = { .present = true, .written = true, .size = size, .text = text } };
    struct slot_finding finding = { 0 };
    slot_view_find(&view, 3, NAME, &finding);
    g_assert_true(finding.state == SLOT_FOUND || finding.state == SLOT_FOREIGN);
    g_assert_true((finding.state == SLOT_FOUND) == (finding.identity != NULL));
    g_assert_true(g_utf8_validate(finding.reason, -1, NULL) && !strpbrk(finding.reason, "\n\r\033"));
    if (finding.identity) {
        g_autoptr(identity_auto) checked = identity_copy(finding.identity);
        g_autofree char *resource = identity_resource(finding.identity);
        g_assert_true(identity_check(checked, NULL) && identity_equal(checked, finding.identity));
        g_assert_true(g_str_has_prefix(resource, finding.identity->host) && !strpbrk(resource, "\n\r &"));
        g_assert_true(!finding.identity->module && !finding.identity->audience);
    }
    slot_finding_clear(&finding);
    return 0;
}
