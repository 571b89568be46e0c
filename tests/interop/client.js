// SPDX-License-Identifier: ISC
// A third-party voice client in a call of the loopback server: plays a clip, listens to the others,
// and says as JSON, one object a line, what it heard.
//
//   client.js --server SERVER_LOG --user N --media FOLDER [--play CLIP] [--hear ID=CLIP,...]
//       [--seconds S] [--least FRAMES] [--most-bad FRAMES] [--plain] [--debug]
//
// --plain: without end-to-end encryption. Exit status 1 when fewer frames than --least were heard of somebody, or more than --most-bad were
// lost between them or are not of the clip.
// The server must be reached with a certificate this process trusts (NODE_EXTRA_CA_CERTS).
import { createReadStream, readFileSync } from 'node:fs';
import { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import * as voice from '@discordjs/voice';
import prism from 'prism-media';

const SILENCE = Buffer.from([0xf8, 0xff, 0xfe]);

const { values: options } = parseArgs({
	options: {
		server: { type: 'string' },
		user: { type: 'string' },
		media: { type: 'string' },
		play: { type: 'string' },
		hear: { type: 'string', default: '' },
		seconds: { type: 'string', default: '10' },
		least: { type: 'string', default: '0' },
		'most-bad': { type: 'string', default: 'Infinity' },
		plain: { type: 'boolean', default: false },
		debug: { type: 'boolean', default: false },
	},
});

function say(event, more = {}) {
	console.log(JSON.stringify({ event, ...more }));
}

// The connection info of user N, from the line the server prints first.
function record() {
	const line = readFileSync(options.server, 'utf8')
		.split('\n')
		.find((text) => text.includes('"event":"ready"'));
	return JSON.parse(line).joins[Number(options.user)];
}

function join(info) {
	const adapterCreator = (methods) => ({
		sendPayload(payload) {
			if (payload.d.channel_id === null) return true;
			setImmediate(() => {
				methods.onVoiceStateUpdate(info);
				methods.onVoiceServerUpdate(info);
			});
			return true;
		},
		destroy() {},
	});
	const connection = voice.joinVoiceChannel({
		guildId: info.guild_id,
		channelId: info.channel_id,
		selfDeaf: false,
		selfMute: false,
		daveEncryption: !options.plain,
		adapterCreator,
		debug: options.debug,
	});
	connection.on('error', (error) => say('error', { message: error.message }));
	connection.on('debug', (text) => options.debug && say('debug', { text }));
	return connection;
}

// The DAVE session of a connection, once there is one.
function dave(connection) {
	return connection.state.networking?.state.dave?.session;
}

async function clipPackets(name) {
	const packets = [];
	const demuxer = createReadStream(`${options.media}/${name}`).pipe(new prism.opus.OggDemuxer());
	for await (const packet of demuxer) packets.push(Buffer.from(packet));
	return packets;
}

// Compares what comes from one user with the clip they play, packet by packet: every one has to be
// the next of the clip, or one further on when some were lost between.
class Listener {
	constructor(user, packets) {
		Object.assign(this, { user, packets, next: -1, heard: 0, lost: 0, wrong: 0, silence: 0 });
	}

	take(packet) {
		if (packet.equals(SILENCE)) {
			this.silence++;
			return;
		}
		const n = this.packets.length;
		const start = this.next < 0 ? 0 : this.next;
		for (let skip = 0; skip < n; skip++) {
			if (!this.packets[(start + skip) % n].equals(packet)) continue;
			if (this.next >= 0) this.lost += skip;
			this.next = (start + skip + 1) % n;
			this.heard++;
			return;
		}
		this.wrong++;
	}

	report() {
		const { user, heard, lost, wrong, silence } = this;
		const good = heard >= Number(options.least) && lost + wrong <= Number(options['most-bad']);
		say('heard', { user, good, heard, lost, wrong, silence });
		return good;
	}
}

async function listeners(connection) {
	const list = [];
	for (const pair of options.hear.split(',').filter(Boolean)) {
		const [user, clip] = pair.split('=');
		const listener = new Listener(user, await clipPackets(clip));
		const stream = connection.receiver.subscribe(user);
		stream.on('data', (packet) => listener.take(packet));
		stream.on('error', (error) => say('receive_error', { user, message: error.message }));
		list.push(listener);
	}
	return list;
}

// Packets of the clip again and again, until stopped.
async function* clipForever(name) {
	const packets = await clipPackets(name);
	for (let i = 0; ; i = (i + 1) % packets.length) yield packets[i];
}

function play(connection) {
	const player = voice.createAudioPlayer({
		behaviors: { noSubscriber: voice.NoSubscriberBehavior.Play },
	});
	const resource = voice.createAudioResource(Readable.from(clipForever(options.play)), {
		inputType: voice.StreamType.Opus,
	});
	player.on('error', (error) => say('error', { message: error.message }));
	connection.subscribe(player);
	player.play(resource);
	return player;
}

async function main() {
	const end = Date.now() + Number(options.seconds) * 1000;
	const connection = join(record());
	await voice.entersState(connection, voice.VoiceConnectionStatus.Ready, 10_000);
	say('connected');
	while (Date.now() < end && !options.plain && !dave(connection)?.ready) await sleep(20);
	say('secure', { ready: dave(connection)?.ready ?? false });
	// Before that the library hands on what it cannot decrypt as it is.
	const list = await listeners(connection);
	const player = options.play ? play(connection) : undefined;
	while (Date.now() < end) await sleep(50);
	// Stopping sends the five frames of silence; leave them the time.
	player?.stop();
	await sleep(300);
	const good = list.map((listener) => listener.report()).every(Boolean);
	say('group', {
		epoch: Number(dave(connection)?.epoch ?? 0),
		users: dave(connection)?.getUserIds() ?? [],
		code: connection.voicePrivacyCode ?? null,
	});
	connection.destroy();
	await sleep(200);
	process.exit(good ? 0 : 1);
}

main().catch((error) => {
	say('error', { message: error.message });
	process.exit(1);
});
