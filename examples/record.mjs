#!/usr/bin/env node
// SPDX-License-Identifier: ISC
// A Discord bot that records a voice channel with tapedeck.
//
//     DISCORD_TOKEN=... node examples/record.mjs GUILD_ID CHANNEL_ID
//
// Needs discord.js. The bot only passes on what its gateway says; the receiver does the rest.
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { Client, Events, GatewayIntentBits } from "discord.js";

const [guild_id, channel_id] = process.argv.slice(2);
const recorder = spawn("build/receiver", ["--join", "-", "--events"], {
  stdio: ["pipe", "pipe", "inherit"],
});
const tell = (message) => recorder.stdin.write(JSON.stringify(message) + "\n");

createInterface({ input: recorder.stdout }).on("line", (line) => console.log(JSON.parse(line)));

const client = new Client({
  intents: [GatewayIntentBits.Guilds, GatewayIntentBits.GuildVoiceStates],
});
client.on(Events.Raw, (message) => {
  if (["VOICE_STATE_UPDATE", "VOICE_SERVER_UPDATE"].includes(message.t)) tell(message);
});
client.once(Events.ClientReady, () => {
  tell({ command: "join", guild_id, user_id: client.user.id });
  client.guilds.cache.get(guild_id).shard.send({
    op: 4,
    d: { guild_id, channel_id, self_mute: false, self_deaf: false },
  });
});
// The end of its input: it finishes the files and exits.
process.once("SIGINT", () => recorder.stdin.end());
recorder.once("exit", (status) => process.exit(status));
client.login(process.env.DISCORD_TOKEN);
