/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Reads something that changes meanwhile, one reading at a time: however often it changes, each reading is shown, and
 * what was asked for last is what stands there in the end.
 */

export class Reading {
    /* read(isGivenUp) is a promise of what show() gets; failed() gets its error, busy() whether reading goes on. */
    constructor({ read, show, failed, busy }) {
        Object.assign(this, { read, show, failed, busy });
        this.isWanted = this.isGivenUp = this.isGoingOn = false;
    }

    /* What is there may be another by now. What is being read is shown, and read once more afterwards: a steady flow of
     * changes would else keep everything from being shown. */
    async again() {
        this.isWanted = true;
        if (this.isGoingOn)
            return;
        this.isGoingOn = true;
        this.busy(true);
        while (this.isWanted)
            await this.once();
        this.isGoingOn = false;
        this.busy(false);
    }

    /* Something else is asked for: nobody wants to know any more what is being read. */
    other() {
        this.isGivenUp = true;
        return this.again();
    }

    async once() {
        this.isWanted = this.isGivenUp = false;
        try {
            const what = await this.read(() => this.isGivenUp);
            if (!this.isGivenUp)
                this.show(what);
        } catch (error) {
            this.failed(error);
        }
    }
}
