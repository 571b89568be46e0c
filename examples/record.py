#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""A Discord bot that records a voice channel with tapedeck.

    DISCORD_TOKEN=... python3 examples/record.py GUILD_ID CHANNEL_ID

Needs discord.py. The bot only passes on what its gateway says; the receiver does the rest.
"""
import json
import os
import subprocess
import sys
import threading

import discord

guild_id, channel_id = sys.argv[1:3]
recorder = subprocess.Popen(["build/receiver", "--join", "-", "--events"],
                            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def tell(message):
    print(json.dumps(message), file=recorder.stdin, flush=True)


def follow():
    for line in recorder.stdout:
        print(json.loads(line))


client = discord.Client(intents=discord.Intents(guilds=True, voice_states=True),
                        enable_debug_events=True)


@client.event
async def on_socket_raw_receive(message):
    message = json.loads(message)
    if message["t"] in ("VOICE_STATE_UPDATE", "VOICE_SERVER_UPDATE"):
        tell(message)


@client.event
async def on_ready():
    tell({"command": "join", "guild_id": guild_id, "user_id": str(client.user.id)})
    guild = client.get_guild(int(guild_id))
    await guild.change_voice_state(channel=guild.get_channel(int(channel_id)))


threading.Thread(target=follow, daemon=True).start()
client.run(os.environ["DISCORD_TOKEN"])
recorder.stdin.close()  # the end of its input: it finishes the files and exits
recorder.wait()
