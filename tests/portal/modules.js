// Copyright (c) 2026 the hubkey authors
// SPDX-License-Identifier: BSD-2-Clause
//
// The modules of the page that need no browser: connection strings, and pages of ten thousand slots.
'use strict';

const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');

const { done, ok } = require('./tap.js');

// As much of cockpit.js as they use.
globalThis.window = {
    cockpit: {
        gettext: text => text, format: (text, ...words) => text.replace(/\$(\d)/g, (all, i) => words[i]),
        permission: () => ({ allowed: false, user: { name: 'alice' } }), message: ({ message }) => message,
    },
};

const COCKPIT = path.join(__dirname, '..', '..', 'cockpit');

// A file of the page is a module by what index.html says, not by its name: here a copy is, by its package.
const copy = fs.mkdtempSync(path.join(os.tmpdir(), 'hubkey-page-'));
process.on('exit', () => fs.rmSync(copy, { recursive: true }));
fs.writeFileSync(path.join(copy, 'package.json'), '{ "type": "module" }');
for (const name of fs.readdirSync(COCKPIT).filter(file => file.endsWith('.js')))
    fs.copyFileSync(path.join(COCKPIT, name), path.join(copy, name));
const load = name => import(path.join(copy, name));

const KEY = Buffer.alloc(32, 7).toString('base64');

// What stands in the fields of "Other": nothing that shows, or takes for the key, more than the key.
function fields({ checkAudience, checkId, checkPolicy, checkKeyText }) {
    const whole = `Endpoint=sb://n.servicebus.windows.net/;SharedAccessKeyName=send;SharedAccessKey=${KEY}`;
    const good = ['sb://n.servicebus.windows.net', 'sb://n.servicebus.windows.net/hub/a', 'https://n.net/q'];
    const bad = [whole, whole.slice('Endpoint='.length), `sb://n.net/SharedAccessKey=${KEY}`, `sb://n.net/${KEY}`, KEY,
        'n.net'];
    ok(good.every(text => checkAudience(text) === ''), 'resources', good.map(checkAudience).join());
    ok(bad.every(text => checkAudience(text).includes('without a key')), 'no resource', bad.map(checkAudience).join());
    const pasted = [`SharedAccessKey=${KEY}`, `d,SharedAccessKey=${KEY}`, `DeviceId=d,SharedAccessKey=${KEY}`,
        `d,SharedAccesKey=${KEY}`, `d,key:${KEY}`];
    ok(pasted.every(text => checkId(text).includes('everybody could read it')), 'a part of a string is no ID',
        pasted.map(checkId).join());
    ok(['send', 'RootManageSharedAccessKey'].every(text => checkPolicy(text) === '') &&
        [whole, KEY, `a;${KEY}`].every(text => checkPolicy(text).includes('only the policy')), 'policies, and none');
    ok([whole, `"${whole}"`, `${KEY};EntityPath=hub`, `SharedAccessKey=${KEY}`].every(text =>
        checkKeyText(text).includes('the key alone')), 'a string is no key of a policy');
    ok(['"k"', '\u201ck\u201d'].every(text => checkKeyText(text).includes('quotes')), 'nor is one in quotes');
    ok([KEY, 'any text', `${'A'.repeat(40)}keY=`].every(text => checkKeyText(text) === ''), 'any other text is');
}

function strings({ takeApart, audienceOf, keyIn, checkHost, checkId, checkKey, looksLikeString }) {
    const whole = `HostName=h.azure-devices.net;DeviceId=d-1;ModuleId=m;GatewayHostName=g.local;SharedAccessKey=${KEY}`;
    const { wrong, parts } = takeApart(`${whole}\n`);
    ok(wrong === '' && parts.map(part => part.value).join() === 'h.azure-devices.net,d-1,m,g.local,',
        'a whole string', wrong);
    ok(!JSON.stringify(takeApart(whole)).includes(KEY), 'what is taken apart has no key in it');
    ok(takeApart(` \t${whole} `).wrong === '', 'blanks around it do not count', takeApart(` ${whole}`).wrong);
    ok(keyIn(whole) === KEY, 'but says where it stands');
    ok(takeApart(whole.toLowerCase().replace(KEY.toLowerCase(), KEY)).wrong === '',
        'names may be in any case, as in hubkeyctl');
    for (let length = 0; length < whole.length; length += 1)
        if (takeApart(whole.slice(0, length)).wrong === '' && length < whole.indexOf(KEY))
            ok(false, 'no string is complete before its key', whole.slice(0, length));
    const typed = takeApart('HostName=h.azure-devices.net;DeviceId=d');
    ok(typed.wrong.includes('missing: SharedAccessKey') && !typed.isMistake,
        'what is still missing is no mistake', typed.wrong);
    const before = '; is missing before';
    const mistakes = {
        'a URL': ['HostName=https://h.net', 'only the name'],
        'a space in an ID': ['DeviceId=a b', 'cannot stand'],
        'an ID of dots': ['DeviceId=..', 'neither . nor ..'],
        'a part twice': ['DeviceId=a;DeviceId=b', 'twice'],
        'no value': ['HostName=;DeviceId=a', 'no value'],
        'a key cut off': ['SharedAccessKey=abc', 'cut off'],
        'a key with odd characters': ['SharedAccessKey=ab_c', 'character 3'],
        'a token for a key': [`HostName=h.a.net;DeviceId=d;SharedAccessSignature=x`, 'no key'],
        'a line end lost before a key': [`HostName=h.a.net;DeviceId=dSharedAccessKey=${KEY}`, before],
        'a blank for a ;': [`HostName=h.a.net;DeviceId=d SharedAccessKey=${KEY}`, before],
        'a comma for a ;': [`HostName=h.a.net;DeviceId=d,SharedAccessKey=${KEY}`, before],
        'a colon for a =': [`HostName=h.a.net;DeviceId=dSharedAccessKey:${KEY}`, before],
        'a comma and a colon': [`HostName=h.a.net;DeviceId=d,SharedAccessKey:${KEY}`, before],
        'blanks only': [`HostName=h.a.net;DeviceId=d SharedAccessKey ${KEY}`, before],
        'a name misspelt': [`HostName=h.a.net;DeviceId=d,SharedAccesKey=${KEY};SharedAccessKey=${KEY}`, 'everybody'],
        'a key for a host': [`HostName=SharedAccessKey.a.net;DeviceId=d;SharedAccessKey=${KEY}`, 'everybody'],
        'a key behind a policy': [`Endpoint=sb://n.net/;SharedAccessKeyName=oSharedAccessKey:${KEY}`, before],
        'a line end lost after a key': [`SharedAccessKey=${KEY}HostName=h.a.net;DeviceId=d`, before],
        'a string in quotes': [`"HostName=h.a.net;DeviceId=d;SharedAccessKey=${KEY}"`, 'does not belong'],
        'a part of another kind': [`HostName=h.a.net;DeviceId=d;SharedAccessKey=${KEY};EntityPath=e`, 'of a device'],
        'a host besides an endpoint': [`Endpoint=sb://n.net/;SharedAccessKeyName=o;SharedAccessKey=${KEY};HostName=h.a`,
            'of Event Hubs'],
        'a blank behind a ;': [`HostName=h.a.net; DeviceId=d;SharedAccessKey=${KEY}`, 'a blank'],
        'a blank behind a =': [`HostName=h.a.net;DeviceId=d;SharedAccessKey= ${KEY}`, 'a blank'],
        'the hub\'s own string': [`HostName=h.a.net;SharedAccessKeyName=o;SharedAccessKey=${KEY}`, 'of the hub'],
    };
    for (const [what, [text, says]] of Object.entries(mistakes)) {
        ok(takeApart(text).wrong.includes(says), `${what} is pointed at`, takeApart(text).wrong);
        ok(!JSON.stringify(takeApart(text)).includes(KEY), 'and what is told of it has no key in it');
    }
    const events = 'Endpoint=sb://n.servicebus.windows.net/;SharedAccessKeyName=send;' +
        `SharedAccessKey=${KEY};EntityPath=hub`;
    const { audience, keyName } = audienceOf(takeApart(events).parts);
    ok(takeApart(events).kind === 'audience' && audience === 'sb://n.servicebus.windows.net/hub' && keyName === 'send',
        'a string of Event Hubs', audience);
    ok(keyIn(events) === KEY, 'with its key');
    const root = 'Endpoint=sb://n.net/;SharedAccessKeyName=RootManageSharedAccessKey;SharedAccessKey=k';
    ok(audienceOf(takeApart(root).parts).keyName === 'RootManageSharedAccessKey' && takeApart(root).wrong === '',
        'a policy that is called after a key is shown', takeApart(root).wrong);
    ok(checkHost('h.azure-devices.net') === '' && checkHost('h') !== '' && checkHost('-h.net') !== '', 'hosts');
    ok(checkId('a-Z0:.+%_#*?!(),=@$\'') === '' && checkId('ä') !== '' && checkId('a'.repeat(129)) !== '', 'IDs');
    ok(checkKey(KEY) === '' && checkKey('A'.repeat(1372)) !== '', 'keys');
    ok(looksLikeString(' hostname=h') && looksLikeString('"Endpoint=sb') && !looksLikeString(KEY),
        'a key is told from a string');
}

// Which strings of Event Hubs or Service Bus may rotate a slot.
function ofSlot({ takeApart, isOfSlot }) {
    const row = { audience: 'sb://n.servicebus.windows.net/hub', keyName: 'send' };
    const fits = (host, policy, path) => isOfSlot(row, takeApart(`Endpoint=sb://${host}/;` +
        `SharedAccessKeyName=${policy};SharedAccessKey=${KEY}${path ? `;EntityPath=${path}` : ''}`).parts);
    const host = 'n.servicebus.windows.net';
    ok(fits(host, 'send', 'hub') && fits(host.toUpperCase(), 'send', 'Hub'), 'a string of the slot\'s own resource');
    ok(fits(host, 'send', ''), 'or of the namespace above it');
    ok(!fits(host, 'listen', 'hub'), 'not of another policy');
    ok(!fits('m.servicebus.windows.net', 'send', 'hub') && !fits(host, 'send', 'other'), 'nor of another resource');
    ok(!fits(host, 'send', 'hu') && !fits(host, 'send', 'hub/below'), 'nor of one whose name begins so, or below it');
}

// What hubkeyd answers with this many slots in files, from number 10 on; counts what it is asked.
class ManySlots {
    constructor(count) {
        this.count = count;
        this.lists = this.singles = 0;
    }

    state(slot) {
        return slot % 1000 === 999 ? 'damaged' : 'ready';
    }

    async listSlots(first, max) {
        this.lists += 1;
        const from = Math.max(first, 10);
        const slots = Array.from({ length: Math.max(0, Math.min(max, 10 + this.count - from)) }, (nothing, i) => ({
            slot: from + i, state: this.state(from + i), storage: 'file', host: 'h.net', device: `dev-${from + i}`,
        }));
        const next = from + slots.length;
        return { slots, next: next < 10 + this.count ? next : 0 };
    }

    async slot(number) {
        this.singles += 1;
        return { State: this.state(number), HostName: 'h.net', DeviceId: `dev-${number}`, Storage: 'file' };
    }
}

async function pages({ PAGE, readPage }) {
    const none = { text: '', state: '' };
    const bus = new ManySlots(10000);
    const first = await readPage(bus, 0, none);
    ok(first.rows.length === 10 + PAGE && first.rows[0].state === 'empty' && first.next === 10 + PAGE,
        'the first page: empty slots to choose, then those in use', `${first.rows.length} ${first.next}`);
    ok(bus.lists === 1 && bus.singles === PAGE, 'costs one list and its own rows', `${bus.lists} ${bus.singles}`);
    const second = await readPage(bus, first.next, none);
    ok(second.rows[0].slot === 10 + PAGE && second.rows.length === PAGE, 'the second goes on there');
    let seen = 0;
    for (let from = 0, page; from !== 0 || seen === 0; from = page.next) {
        page = await readPage(new ManySlots(10000), from, none);
        seen += page.rows.filter(({ state }) => state !== 'empty').length;
        if (page.next === 0)
            break;
    }
    ok(seen === 10000, 'all pages together have every slot once', seen);
    const found = new ManySlots(10000);
    const { rows, next } = await readPage(found, 0, { text: '', state: 'damaged' });
    ok(rows.length === 10 && next === 0 && found.singles === 10, 'a filter keeps what matches only', found.singles);
    const full = await readPage(bus, 0, { text: 'dev-', state: '' });
    ok(full.rows.length === PAGE && full.next === 10 + PAGE, 'and stops when the page is full', full.next);
    const last = await readPage(bus, 0, { text: 'dev-10009', state: '' });
    ok(last.rows.length === 1 && last.rows[0].slot === 10009, 'the last of all is found');
}

// hubkeyctl that the bridge does not start, or loses; and one that fails by itself.
async function spawning({ hubkeyctl, doctor }) {
    const given = [];
    const fails = error => {
        const process = Promise.reject(error);
        Object.assign(process, { input: text => given.push(text), stream: () => process });
        window.cockpit.spawn = () => process;
    };
    const said = async (error, work) => {
        fails(error);
        return work().then(() => '', ({ message }) => message);
    };
    const provision = () => hubkeyctl(['provision', '0'], KEY);
    const denied = await said({ problem: 'access-denied', message: 'Not permitted' }, provision);
    ok(denied.includes('administrative access, which alice does not have'), 'access that is gone is told', denied);
    ok(given.join() === KEY, 'the key goes to standard input only', given.length);
    for (const [problem, words] of [['not-found', 'not installed'], ['terminated', 'was ended'],
        ['disconnected', 'was lost'], ['timeout', 'in time']])
        for (const work of [provision, doctor])
            ok((await said({ problem, message: 'x' }, work)).includes(words), `${problem} is told in the page's words`);
    ok(await said({ exit_status: 1, message: 'hubkeyctl: slot 0 is in use' }, provision) === 'slot 0 is in use',
        'and what hubkeyctl says in its own');
}

// A change with every answer of hubkeyd, as where programs fill slots; then somebody asks for something else.
async function flow({ Reading }, { readPage }) {
    const bus = new ManySlots(10000);
    const shown = [];
    let [changes, filter] = [30, { text: '', state: 'damaged' }];
    let reading;
    const listSlots = bus.listSlots.bind(bus);
    bus.listSlots = (...words) => {
        changes -= 1;
        if (changes === 0) {
            filter = { text: 'dev-10009', state: '' };
            reading.other();
        } else if (changes > 0) {
            reading.again();
        }
        return listSlots(...words);
    };
    reading = new Reading({
        read: isGivenUp => readPage(bus, 0, filter, isGivenUp), show: page => shown.push({ changes, ...page }),
        failed: error => ok(false, 'it is read', error.stack), busy() {},
    });
    await reading.again();
    const before = shown.filter(page => page.changes > 0);
    ok(before.length === 2 && before.every(({ rows }) => rows.length === 10),
        'what is read while slots change is shown all the same', before.length);
    ok(shown.length === 3 && shown[2].rows.length === 1 && shown[2].rows[0].slot === 10009,
        'what is not wanted any more is given up for what is', JSON.stringify(shown.map(({ rows }) => rows.length)));
    ok(bus.lists === 40, 'at once', bus.lists);
}

// Every text of the page is in the translation, with the same places to fill.
function translations() {
    const po = fs.readFileSync(path.join(COCKPIT, 'po', 'de.po'), 'utf8');
    const known = new Map([...po.matchAll(/^msgid "(.*)"\nmsgstr "(.*)"$/gm)].map(([all, id, text]) => [id, text]));
    const sources = fs.readdirSync(COCKPIT).filter(name => name.endsWith('.js')).map(
        name => fs.readFileSync(path.join(COCKPIT, name), 'utf8')).join('\n');
    const pieces = text => [...text.matchAll(/"((?:[^"\\]|\\.)*)"/g)].map(([piece, inner]) => inner);
    const counted = [...sources.matchAll(/\bngettext\(("[^"]*", "[^"]*"),/g)].map(([all, both]) => pieces(both));
    const plurals = new Map([...po.matchAll(
        /^msgid "(.*)"\nmsgid_plural "(.*)"\nmsgstr\[0\] "(.+)"\nmsgstr\[1\] "(.+)"$/gm)].map(
        ([all, one, many, ...forms]) => [one, { many, forms }]));
    ok(counted.length > 0 && counted.length === plurals.size && counted.every(([one, many]) =>
        plurals.get(one)?.many === many), 'what is counted has its plural', [...plurals.keys()].join('\n'));
    const texts = [...sources.matchAll(/\b_\(((?:\s*\+?\s*"(?:[^"\\]|\\.)*")+)\s*\)/g)].map(
        ([all, strings]) => pieces(strings).join(''));
    ok(texts.length > 150, 'the texts of the page are found', texts.length);
    const missing = texts.filter(text => !known.get(text));
    ok(missing.length === 0, 'all are translated', missing.join('\n'));
    const places = text => (text.match(/\$\d/g) || []).sort().join();
    const other = [...known].filter(([id, text]) => places(id) !== places(text));
    ok(other.length === 0, 'with the same places', other.join('\n'));
    const unused = [...known.keys()].filter(id => id && !texts.includes(id));
    ok(unused.length === 0, 'and nothing else is', unused.join('\n'));
}

async function main() {
    translations();
    const identity = await load('identity.js');
    strings(identity);
    fields(identity);
    ofSlot(identity);
    const slots = await load('slots.js');
    await pages(slots);
    await spawning(await load('hubkeyctl.js'));
    await flow(await load('reading.js'), slots);
}

main().catch(error => ok(false, 'the modules work', error.stack)).then(done);
