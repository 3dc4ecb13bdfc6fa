/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Connection strings and their parts, taken apart while they are typed: what is there, what is wrong with it, what is
 * missing. hubkeyctl and hubkeyd judge again; this is to point at a mistake before. No result has the key in it: of a
 * key there is only where it stands.
 */

const _ = window.cockpit.gettext;
const format = window.cockpit.format;

/* What IoT Hub's identity registry takes, as common/identity.h has it. */
const ID = /^[A-Za-z0-9\-:.+%_#*?!(),=@$']{1,128}$/;
const LABEL = "[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"; /* RFC 1035 */
const HOST = new RegExp(`^(?=.{1,253}$)${LABEL}(?:\\.${LABEL})+$`);
const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;
const KEY_MAX = 1024;

const NAMES = ["HostName", "DeviceId", "ModuleId", "GatewayHostName", "SharedAccessKey", "SharedAccessSignature",
    "SharedAccessKeyName", "Endpoint", "EntityPath"];

/* Each gives what is wrong with a value, or "". */
export function checkHost(value) {
    if (HOST.test(value))
        return "";
    return /[/:]/.test(value) ? _("only the name, as myhub.azure-devices.net, without https:// and without a path")
        : _("a host name has letters, digits, - and dots, as myhub.azure-devices.net");
}

export function checkId(value) {
    if (value === "." || value === ".." || value.length > 128)
        return _("an ID has 1 to 128 characters and is neither . nor ..");
    const bad = [...value].find(character => !ID.test(character));
    return bad === undefined ? "" : format(_("the character \"$0\" cannot stand in an ID"), bad);
}

/* The key of a device: base64, as the portal shows it. Says where it is wrong, never what it is. */
export function checkKey(value) {
    const odd = value.search(/[^A-Za-z0-9+/=]/);
    if (odd >= 0)
        return format(_("character $0 of the key is not base64"), odd + 1);
    if (!BASE64.test(value))
        return format(_("the key is cut off: $0 characters are no complete base64"), value.length);
    return value.length / 4 * 3 > KEY_MAX + 2 ? format(_("a key has at most $0 bytes"), KEY_MAX) : "";
}

function checkEndpoint(value) {
    return /^sb:\/\/[^/]+\/?$/.test(value) ? "" : _("an endpoint looks like sb://name.servicebus.windows.net/");
}

const checks = {
    HostName: checkHost, GatewayHostName: checkHost, DeviceId: checkId, ModuleId: checkId, Endpoint: checkEndpoint,
};

/* { name, value, start, length, mistake } for each part; value is "" for what is secret. */
function split(text) {
    const parts = [];
    let start = 0;
    for (const piece of text.split(";")) {
        const equals = piece.indexOf("=");
        const given = equals < 0 ? piece : piece.slice(0, equals);
        const name = NAMES.find(known => known.toLowerCase() === given.trim().toLowerCase());
        if (piece.trim()) {
            const value = equals < 0 ? "" : piece.slice(equals + 1).trim();
            const secret = !name || name === "SharedAccessKey" || name === "SharedAccessSignature";
            parts.push({
                name: name || "",
                value: secret ? "" : value,
                start: start + (equals < 0 ? 0 : equals + 1),
                length: value.length,
                mistake: mistakeOf(name, value, parts, equals < 0 ? NaN : start),
            });
        }
        start += piece.length + 1;
    }
    return parts;
}

function mistakeOf(name, value, before, start) {
    if (!name)
        return Number.isNaN(start) ? _("this part has no name; parts look like Name=value and are separated by ;")
            : _("this part has a name that does not belong into a connection string");
    if (before.some(part => part.name === name))
        return format(_("$0 stands there twice"), name);
    if (!value)
        return format(_("$0 has no value"), name);
    return checks[name]?.(value) || "";
}

/* What is there for a complete string of its kind, and does not fit; "" when nothing. */
function whatIsWrong(kind, names, parts) {
    const broken = parts.find(part => part.mistake);
    if (broken)
        return broken.name ? `${broken.name}: ${broken.mistake}` : broken.mistake;
    if (kind === "device" && names.has("SharedAccessKeyName"))
        return _("This is a connection string of the hub. Take the device's own: in the portal, Devices, the device, " +
                 "\"Primary connection string\".");
    if (names.has("SharedAccessSignature"))
        return _("This string has a token that ends, no key. Take the \"Primary connection string\" of the device.");
    const wanted = kind === "audience" ? ["Endpoint", "SharedAccessKeyName", "SharedAccessKey"]
        : ["HostName", "DeviceId", "SharedAccessKey"];
    const missing = wanted.filter(name => !names.has(name));
    return missing.length ? format(_("Still missing: $0"), missing.join(", ")) : "";
}

/* { kind: "device" or "audience", parts, wrong, isMistake }; wrong is "" for a complete string, isMistake false while
 * it is only not complete yet. */
export function takeApart(text) {
    const parts = split(text.trimEnd());
    const names = new Set(parts.map(part => part.name));
    const kind = names.has("Endpoint") ? "audience" : "device";
    const key = parts.find(part => part.name === "SharedAccessKey");
    if (key && kind === "device" && !key.mistake)
        key.mistake = checkKey(text.slice(key.start).split(";")[0].trim());
    const wrong = whatIsWrong(kind, names, parts);
    const isMistake = parts.some(part => part.mistake) || (wrong !== "" && names.has("SharedAccessKey"));
    return { kind, parts, wrong, isMistake };
}

/* What an Event Hubs or Service Bus string stands for; its key is the text behind SharedAccessKey=. */
export function audienceOf(parts) {
    const value = name => parts.find(part => part.name === name)?.value || "";
    const path = value("EntityPath");
    return {
        audience: value("Endpoint").replace(/\/$/, "") + (path ? `/${path}` : ""),
        keyName: value("SharedAccessKeyName"),
    };
}

/* Whether the key of such a string signs for the slot: it is of the slot's policy, and of its resource or one above it.
 * The case of a resource does not count. */
export function isOfSlot(row, parts) {
    const { audience, keyName } = audienceOf(parts);
    return keyName === row.keyName && `${row.audience}/`.toLowerCase().startsWith(`${audience}/`.toLowerCase());
}

export function keyIn(text) {
    const { parts } = takeApart(text);
    const { start, length } = parts.find(part => part.name === "SharedAccessKey");
    return text.slice(start).trimStart().slice(0, length);
}

/* Whether somebody is about to give a connection string, not a key. */
export const looksLikeString = text => /^\s*(HostName|DeviceId|Endpoint|SharedAccess)[A-Za-z]*\s*=/i.test(text);
