/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Connection strings and their parts, taken apart while they are typed: what is there, what is wrong with it, what is
 * missing. hubkeyctl and hubkeyd judge again; this is to point at a mistake before. Of a key a result has only where it
 * stands, even where it was pasted into, or ran together with, what is no secret, by whatever sign: a value that has
 * the name of a key in it is hidden, and refused. A key with no such name before it, that stands where something else
 * should, cannot be told from that.
 */

const _ = window.cockpit.gettext;
const format = window.cockpit.format;

/* What IoT Hub's identity registry takes, as common/identity.h has it. */
const ID = /^[A-Za-z0-9\-:.+%_#*?!(),=@$']{1,128}$/;
const LABEL = "[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"; /* RFC 1035 */
const HOST = new RegExp(`^(?=.{1,253}$)${LABEL}(?:\\.${LABEL})+$`);
const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;
const KEY_MAX = 1024;

/* What else a string has than that which makes it complete; of the hub's own, and of one with a token, more is said. */
const KINDS = {
    device: {
        wanted: ["HostName", "DeviceId", "SharedAccessKey"],
        taken: ["ModuleId", "GatewayHostName", "SharedAccessKeyName", "SharedAccessSignature"],
    },
    audience: {
        wanted: ["Endpoint", "SharedAccessKeyName", "SharedAccessKey"],
        taken: ["EntityPath", "SharedAccessSignature"],
    },
};
const NAMES = [...new Set(Object.values(KINDS).flatMap(({ wanted, taken }) => [...wanted, ...taken]))];

/* A name of a part in the middle of a value: what separated them got lost, as line ends do in a field of one line. The
 * others are words that an ID may well have in it. */
const RUN_ON = new RegExp(`(${[...NAMES].sort((a, b) => b.length - a.length).join("|")})\\s*=`, "i");
const KEY_RUN_ON = /(SharedAccess(?:KeyName|Key|Signature))[\s=:]/i;
const SECRET = /SharedAccess|Key\s*[=:]\s*[^\s=]/i; /* base64 may end with "Key=" */
const QUOTES = "\"'`\u2018\u2019\u201c\u201d";

const SHOWN_TO_ALL = _("this looks like a part of a connection string with a key; everybody could read it here");

/* Each gives what is wrong with a value, or "". */
export function checkHost(value) {
    if (HOST.test(value))
        return "";
    return /[/:]/.test(value) ? _("only the name, as myhub.azure-devices.net, without https:// and without a path")
        : _("a host name has letters, digits, - and dots, as myhub.azure-devices.net");
}

export function checkId(value) {
    if (SECRET.test(value))
        return SHOWN_TO_ALL;
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
        return format(_("the key is cut off: with a length of $0 it is no complete base64"), value.length);
    return value.length / 4 * 3 > KEY_MAX + 2 ? format(_("a key has at most $0 bytes"), KEY_MAX) : "";
}

/* A resource and a policy are shown to everybody, so nothing may stand in them that a key could be. */
export function checkAudience(value) {
    return /^(?:sb|https|amqps):\/\/[^\s;=?#/]+(?:\/[^\s;=?#]*)?$/i.test(value) && !SECRET.test(value) ? ""
        : _("only the resource, as sb://name.servicebus.windows.net/hub, without a key");
}

export function checkPolicy(value) {
    return /^[A-Za-z0-9._$-]{1,256}$/.test(value) ? "" : _("only the policy's name, as RootManageSharedAccessKey");
}

/* The key of a policy: its text is the key itself. */
export function checkKeyText(value) {
    if (looksLikeString(value) || value.includes(";") || SECRET.test(value))
        return _("this is a connection string or a part of one; give the key alone");
    return QUOTES.includes(value[0]) || QUOTES.includes(value.at(-1)) ? _("the key stands in quotes; take them away")
        : "";
}

function checkEndpoint(value) {
    return /^sb:\/\/[^/]+\/?$/.test(value) ? "" : _("an endpoint looks like sb://name.servicebus.windows.net/");
}

const checks = {
    HostName: checkHost, GatewayHostName: checkHost, DeviceId: checkId, ModuleId: checkId, Endpoint: checkEndpoint,
    SharedAccessKeyName: checkPolicy,
};

/* hubkeyctl takes none for a part's own. Around the whole string they do not count. */
const blankIn = piece => /^\s|\s$|^[^=]*(?:\s=|=\s)/.test(piece)
    ? _("a blank stands at the beginning or end of this part") : "";

const isKey = name => name === "SharedAccessKey" || name === "SharedAccessSignature";

/* Whether a key may stand in the value. The name of a policy is often RootManageSharedAccessKey. */
const isSecret = (name, value) => !name || isKey(name) ||
    SECRET.test(name === "SharedAccessKeyName" ? value.replace(/SharedAccessKey$/i, "") : value);

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
            parts.push({
                name: name || "",
                value: isSecret(name, value) ? "" : value,
                start: start + (equals < 0 ? 0 : equals + 1),
                length: value.length,
                mistake: mistakeOf(name, value, parts, equals < 0 ? NaN : start) ||
                    blankIn(parts.length ? piece : piece.trimStart()),
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
    const [, next] = KEY_RUN_ON.exec(value) || RUN_ON.exec(value) || [];
    if (next)
        return format(_("a ; is missing before $0"), next);
    return checks[name]?.(value) || (isSecret(name, value) && !isKey(name) ? SHOWN_TO_ALL : "");
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
    const missing = KINDS[kind].wanted.filter(name => !names.has(name));
    if (missing.length)
        return format(_("Still missing: $0"), missing.join(", "));
    return kind === "audience" ? checkAudience(audienceOf(parts).audience) : "";
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
    const { wanted, taken } = KINDS[kind];
    const stranger = parts.find(({ name, mistake }) => !mistake && !wanted.includes(name) && !taken.includes(name));
    if (stranger)
        stranger.mistake = kind === "device" ? _("does not belong into the string of a device")
            : _("does not belong into a string of Event Hubs or Service Bus");
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
export const looksLikeString = text =>
    /^[\s"'`\u2018-\u201d]*(?:HostName|DeviceId|Endpoint|SharedAccess)[A-Za-z]*\s*=/i.test(text);
