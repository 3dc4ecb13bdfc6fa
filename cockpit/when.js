/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Times and figures in the language that Cockpit speaks, which need not be the browser's; times are Unix seconds.
 */

const language = () => window.cockpit.language?.replace("_", "-") || undefined;

export const timeOf = seconds => new Date(seconds * 1000).toLocaleTimeString(language());
export const dateOf = seconds =>
    new Date(seconds * 1000).toLocaleString(language(), { dateStyle: "short", timeStyle: "short" });

const TENTHS = { minimumFractionDigits: 1, maximumFractionDigits: 1 };
export const figure = value => value.toLocaleString(language(), TENTHS);
