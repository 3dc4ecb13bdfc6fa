/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The dialog that puts a key into an empty slot: what it asks, in three ways, and what is done with the answers.
 */

import { getToken } from "./bus.js";
import { Dialog } from "./dialog.js";
import { field, h } from "./dom.js";
import { hubkeyctl } from "./hubkeyctl.js";
import { audienceOf, checkAudience, checkHost, checkId, checkKey, checkKeyText, checkPolicy, keyIn,
    takeApart } from "./identity.js";
import { PartsView, SecretField } from "./secret.js";
import { TPM_SLOTS, identity, readRow, readRowAtLast } from "./slots.js";
import { slotState } from "./states.js";
import { Steps } from "./steps.js";
import { timeOf } from "./when.js";

const cockpit = window.cockpit;
const _ = cockpit.gettext;

const PROOF_SECONDS = 60;
const LAST_SLOT = 65535;

/* Each way has an element and take(): { words, secret } for hubkeyctl provision, the secret out of its control. It
 * throws what is wrong before anything is taken. */

class StringWay {
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

const input = properties => h("input",
    { type: "text", class: "input", autocomplete: "off", spellcheck: "false", ...properties });

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

class FieldsWay {
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

class OtherWay {
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

/* Radio buttons, and the element of the way that is chosen. */
function chooser(ways) {
    const place = h("div", {}, ways[0].element);
    const state = { way: ways[0], element: null };
    const choose = way => {
        ways.forEach(other => { if (other !== way) other.clear(); });
        state.way = way;
        place.replaceChildren(way.element);
    };
    state.element = h("fieldset", {}, h("legend", {}, _("What do you have?")), ways.map((way, i) =>
        h("label", { class: "radio" },
            h("input", { type: "radio", name: "way", checked: i === 0, onchange: () => choose(way) }), way.title)),
    place);
    return state;
}

/* As short as the slot allows. It can be refused although the key is good: by Scopes=, or RequestsPerMinute=. */
async function prove(row) {
    try {
        const { expires } = await getToken(row.slot, "", Math.min(PROOF_SECONDS, row.maxTtl));
        return cockpit.format(_("A token for the whole identity was made; it ends at $0 and was not kept."),
            timeOf(expires));
    } catch (error) {
        if (error.name === "org.hubkey.Error.NotAuthorized")
            throw new Error(`${_("hubkeyd's configuration does not allow this token. Make one for a scope that it " +
                "allows with \"Try it\".")} ${error.message}`);
        throw error;
    }
}

/* "Slot 0: Ready, dev-1 @ myhub.azure-devices.net" */
const told = row => cockpit.format(_("Slot $0: $1"), row.slot,
    [slotState(row.state).label, identity(row), row.reason].filter(word => word).join(", "));

/* After a step that failed: what became of the slot, however long hubkeyd takes to come back. Only where the slot is
 * known to be empty can the same be tried again. */
async function lookAfter(bus, dialog, steps, slot) {
    const row = await readRow(bus, slot).catch(() => null);
    if (row?.state === "empty") {
        dialog.message.append(h("p", {},
            _("The slot is empty: the key is not in it. To try again, give it once more.")));
        return;
    }
    dialog.body.hidden = true;
    dialog.finish();
    steps.run(_("What is in the slot now"), async () => told(row || await readRowAtLast(bus, slot))).catch(() => null);
}

async function carryOut(bus, dialog, slot, { words, secret }) {
    const steps = new Steps();
    dialog.message.replaceChildren(steps.element);
    let row = null;
    try {
        await steps.run(_("The key goes to hubkeyd: hubkeyctl provision"),
            () => hubkeyctl(["provision", String(slot), ...words], secret));
        await steps.run(_("The slot is read back"), async () => {
            row = await readRow(bus, slot);
            if (row.state !== "ready")
                throw new Error(told(row));
            return told(row);
        });
        await steps.run(_("A token is made as proof"), () => prove(row));
    } catch (error) {
        await lookAfter(bus, dialog, steps, slot); /* the step that failed says why */
        return;
    }
    dialog.body.hidden = true;
    dialog.finish();
}

/* number: the slot, null where it is still to be chosen; free: an empty one to begin with. */
export function configure(bus, number, free) {
    const slot = input({ type: "number", min: 0, max: LAST_SLOT, required: true, value: number ?? free,
        readonly: number !== null });
    const storage = h("select", { class: "input" }, h("option", { value: "" }, _("As usual for this slot")),
        h("option", { value: "tpm" }, _("In the TPM")),
        h("option", { value: "file" }, _("In a file, wrapped by the TPM")));
    const choice = chooser([new StringWay(), new FieldsWay(), new OtherWay()]);

    const save = async dialog => {
        const n = Number(slot.value);
        if (!slot.value || !Number.isInteger(n) || n < 0 || n > LAST_SLOT)
            throw new Error(cockpit.format(_("A slot is a number from 0 to $0."), LAST_SLOT));
        const { words, secret } = choice.way.take();
        const where = storage.value ? [`--storage=${storage.value}`] : [];
        await carryOut(bus, dialog, n, { words: [...words, ...where], secret });
    };

    const title = number === null ? _("Configure a slot") : cockpit.format(_("Configure slot $0"), number);
    const dialog = new Dialog(title, { action: _("Save"), act: save, gone: () => choice.way.clear() });
    dialog.open(field(_("Slot"), slot, cockpit.format(
        _("0 to $0 are in the TPM, for devices; those above are files that only this TPM can use."), TPM_SLOTS - 1)),
        choice.element, h("details", {}, h("summary", {}, _("Where the key is kept")), field(_("Storage"), storage)));
    choice.element.querySelector("input[type=password]").focus();
}
