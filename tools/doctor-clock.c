/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The clock, which every expiry comes from.
 */
#include <config.h>

#include "tools/doctor.h"
#include "common/clock.h"

#include <sys/timex.h>

#define CHECK "clock"
#define MEND "timedatectl set-ntp true"

void
doctor_clock(struct doctor *doctor)
{
    struct timex kernel = { .modes = 0 };
    if (clock_wall_s() < RELEASE_TIME) {
        doctor_say(doctor, DOCTOR_BAD, CHECK, MEND,
                   "the clock is not set: it stands before the day this version of hubkey "
                   "was made, and hubkeyd gives no tokens");
        return;
    }
    int state = adjtimex(&kernel);
    if (state < 0)
        doctor_say(doctor, DOCTOR_WARNING, CHECK, "timedatectl",
                   "whether the clock is synchronised cannot be told here");
    else if (state == TIME_ERROR || (kernel.status & STA_UNSYNC))
        doctor_say(doctor, DOCTOR_WARNING, CHECK, MEND,
                   "the clock is not synchronised; when it is off by minutes, hubs refuse tokens");
    else
        doctor_say(doctor, DOCTOR_OK, CHECK, NULL, "the clock is synchronised, to %ld ms at worst",
                   kernel.maxerror / 1000);
}
