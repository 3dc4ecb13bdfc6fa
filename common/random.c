/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <config.h>

#include "common/random.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <sys/random.h>
#include <unistd.h>

/* How much is filled. A handled signal may come in between. */
static size_t
fill(int fd, uint8_t *bytes, size_t len)
{
    size_t done = 0;
    while (done < len) {
        ssize_t n = fd < 0 ? getrandom(bytes + done, len - done, 0) : read(fd, bytes + done, len - done);
        if (n <= 0 && !(n < 0 && errno == EINTR))
            break;
        done += n > 0 ? (size_t)n : 0;
    }
    return done;
}

bool
random_fill(void *bytes, size_t len)
{
    if (fill(-1, bytes, len) == len)
        return true;
    int fd = open("/dev/urandom", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    size_t done = fill(fd, bytes, len);
    int problem = errno;
    close(fd);
    errno = problem;
    return done == len;
}
