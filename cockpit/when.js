/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Times in the language that Cockpit speaks, which need not be the browser's; both take Unix seconds.
 */

const language = () => window.cockpit.language?.replace("_", "-") || undefined;

export const timeOf = seconds => new Date(seconds * 1000).toLocaleTimeString(language());
export const dateOf = seconds =>
    new Date(seconds * 1000).toLocaleString(language(), { dateStyle: "short", timeStyle: "short" });
