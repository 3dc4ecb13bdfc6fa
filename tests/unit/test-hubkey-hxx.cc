/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * client/hubkey.h in C++11: it compiles, and its functions link under their C names.
 */
#include "client/hubkey.h"

#include <cstdio>
#include <cstring>

int
main()
{
    hubkey_error error;
    hubkey_options options = hubkey_options();
    hubkey_client *client = nullptr;
    int result = hubkey_client_open(&options, &client, &error); // size is not set
    bool good = result == HUBKEY_E_SIZE && error.code == HUBKEY_E_SIZE && client == nullptr &&
                std::strstr(error.text, "size") != nullptr;
    std::printf("%s 1 - an error reaches C++: %s\n1..1\n", good ? "ok" : "not ok", error.text);
    return good ? 0 : 1;
}
