/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The ways to say which key goes into a slot, and whose it is: a connection string, its parts, or those of Event Hubs
 * and Service Bus.
 */

import { field, h, input } from "./dom.js";
import { audienceOf, checkAudience, checkHost, checkId, checkKey, checkKeyText, checkPolicy, keyIn,
    takeApart } from "./identity.js";
import { PartsView, SecretField } from "./secret.js";

const _ = window.cockpit.gettext;

/* Each way has an element and take(): { words, secret } for hubkeyctl provision, the secret out of its control. It
 * throws what is wrong before anything is taken. */

export class StringWay {
    title = _("Connection string");

    constructor() {
        this.parts = new PartsView();
        this.string = new SecretField(_("Connection string"),
            _("As the portal shows it: HostName=...;DeviceId=...;SharedAccessKey=..."),
            { oninput: () => this.parts.show(this.string) });
        this.element = h("div", {}, this.string.element, this.parts.element);
    }

    take() {
        if (this.string.isEmpty) {
            this.string.control.focus();
            throw new Error(_("The connection string is missing."));
        }
        const { kind, parts, wrong } = this.string.inspect(takeApart);
        if (wrong)
            throw new Error(wrong);
        const text = this.string.take();
        this.parts.show(this.string);
        if (kind === "device")
            return { words: ["--connection-string-file=-"], secret: text };
        const { audience, keyName } = audienceOf(parts);
        return { words: [`--audience=${audience}`, `--key-name=${keyName}`, "--key-file=-"], secret: keyIn(text) };
    }

    clear() {
        this.string.clear();
    }
}

function need(control, name, check) {
    const value = control.value.trim();
    const wrong = value ? check?.(value) : _("is missing");
    control.setAttribute("aria-invalid", Boolean(wrong));
    if (wrong) {
        control.focus();
        throw new Error(`${name}: ${wrong}`);
    }
    return value;
}

const optional = (control, name, check) => control.value.trim() ? need(control, name, check) : "";

export class FieldsWay {
    title = _("Host name, device ID and key");

    constructor() {
        this.host = input({ placeholder: "myhub.azure-devices.net" });
        this.device = input({});
        this.module = input({});
        this.gateway = input({});
        this.key = new SecretField(_("Primary key"), _("base64, as the portal shows it"));
        this.element = h("div", {},
            field(_("Host name"), this.host), field(_("Device ID"), this.device), this.key.element,
            h("details", {}, h("summary", {}, _("Module or gateway")),
                field(_("Module ID"), this.module, _("Only for a module of the device; its key is kept in a file.")),
                field(_("Gateway"), this.gateway, _("Only behind an IoT Edge gateway: its host name."))));
    }

    take() {
        const words = [`--host-name=${need(this.host, _("Host name"), checkHost)}`,
            `--device-id=${need(this.device, _("Device ID"), checkId)}`];
        const module = optional(this.module, _("Module ID"), checkId);
        const gateway = optional(this.gateway, _("Gateway"), checkHost);
        need(this.key.control, _("Primary key"), checkKey);
        if (module)
            words.push(`--module-id=${module}`);
        if (gateway)
            words.push(`--gateway=${gateway}`);
        return { words: [...words, "--key-file=-"], secret: this.key.take().trim() };
    }

    clear() {
        this.key.clear();
    }
}

export class OtherWay {
    title = _("Other: Event Hubs, Service Bus");

    constructor() {
        this.audience = input({ placeholder: "sb://name.servicebus.windows.net/hub" });
        this.name = input({});
        this.key = new SecretField(_("Key"), _("The policy's primary key, as the portal shows it"));
        this.element = h("div", {}, field(_("Resource"), this.audience), field(_("Policy (key name)"), this.name),
            this.key.element);
    }

    take() {
        const words = [`--audience=${need(this.audience, _("Resource"), checkAudience)}`,
            `--key-name=${need(this.name, _("Policy (key name)"), checkPolicy)}`, "--key-file=-"];
        need(this.key.control, _("Key"), checkKeyText);
        return { words, secret: this.key.take().trim() };
    }

    clear() {
        this.key.clear();
    }
}
