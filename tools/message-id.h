/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Message ids, made here so that `send --ack` can print them.
 */
#pragma once

#define MESSAGE_ID_SIZE 37 /* with its NUL */

/* A UUID, version 7 (RFC 9562 section 5.7): milliseconds first, so ids sort by time. */
void message_id_make(char id[MESSAGE_ID_SIZE]);
