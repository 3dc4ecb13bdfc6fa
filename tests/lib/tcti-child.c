/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "tests/lib/tcti-child.h"

#include <endian.h>
#include <stdio.h>
#include <string.h>

#include <tss2/tss2_tctildr.h>

#define MAGIC 0x687562732d74636dULL
#define HEADER_BYTES 10 /* tag, length, code (Part 1, 18) */

static TSS2_TCTI_CONTEXT *
child_of(TSS2_TCTI_CONTEXT *context)
{
    return ((struct tcti_child *)context)->child;
}

static TSS2_RC
cancel(TSS2_TCTI_CONTEXT *context)
{
    return Tss2_Tcti_Cancel(child_of(context));
}

static TSS2_RC
get_poll_handles(TSS2_TCTI_CONTEXT *context, TSS2_TCTI_POLL_HANDLE *handles, size_t *count)
{
    return Tss2_Tcti_GetPollHandles(child_of(context), handles, count);
}

static TSS2_RC
set_locality(TSS2_TCTI_CONTEXT *context, uint8_t locality)
{
    return Tss2_Tcti_SetLocality(child_of(context), locality);
}

static TSS2_RC
make_sticky(TSS2_TCTI_CONTEXT *context, TPM2_HANDLE *handle, uint8_t sticky)
{
    return Tss2_Tcti_MakeSticky(child_of(context), handle, sticky);
}

bool
tcti_child_sized(TSS2_TCTI_CONTEXT *context, size_t *size, const char *conf, size_t needed, TSS2_RC *rc)
{
    *rc = TSS2_RC_SUCCESS;
    if (!size || !conf)
        *rc = TSS2_TCTI_RC_BAD_VALUE;
    else if (!context)
        *size = needed;
    else if (*size < needed)
        *rc = TSS2_TCTI_RC_INSUFFICIENT_BUFFER;
    else
        memset(context, 0, needed);
    return !context || *rc != TSS2_RC_SUCCESS;
}

bool
tcti_child_take(const char **conf, const char *key, char value[TCTI_CHILD_VALUE])
{
    size_t len = strlen(key);
    if (strncmp(*conf, key, len) != 0 || (*conf)[len] != '=')
        return false;
    const char *start = *conf + len + 1;
    size_t n = strcspn(start, ",");
    snprintf(value, TCTI_CHILD_VALUE, "%.*s", (int)n, start);
    *conf = start + n + (start[n] == ',');
    return true;
}

TSS2_RC
tcti_child_open(struct tcti_child *self, const struct tcti_child_functions *functions, const char *conf)
{
    self->common = (TSS2_TCTI_CONTEXT_COMMON_V2){
        .v1 = { .magic = MAGIC, .version = 2, .transmit = functions->transmit, .receive = functions->receive,
                .finalize = functions->finalize, .cancel = cancel, .getPollHandles = get_poll_handles,
                .setLocality = set_locality },
        .makeSticky = make_sticky,
    };
    if (strncmp(conf, "child=", 6) != 0)
        return TSS2_TCTI_RC_BAD_VALUE;
    return Tss2_TctiLdr_Initialize(conf + 6, &self->child);
}

void
tcti_child_close(struct tcti_child *self)
{
    Tss2_TctiLdr_Finalize(&self->child);
}

uint32_t
tcti_child_command(const uint8_t *command, size_t size)
{
    uint32_t code = 0;
    if (size >= HEADER_BYTES)
        memcpy(&code, command + 6, sizeof code);
    return be32toh(code);
}

void
tcti_child_refuse(uint32_t code, size_t *size, uint8_t *response)
{
    const uint16_t tag = htobe16(TPM2_ST_NO_SESSIONS);
    const uint32_t len = htobe32(HEADER_BYTES), rc = htobe32(code);
    *size = HEADER_BYTES;
    if (!response)
        return;
    memcpy(response, &tag, 2);
    memcpy(response + 2, &len, 4);
    memcpy(response + 6, &rc, 4);
}
