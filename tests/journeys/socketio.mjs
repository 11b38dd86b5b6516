// The JavaScript client of Socket.IO: node socketio.mjs HOME URL OPTIONS. A line of JSON for each thing it is told.
import { createRequire } from 'node:module';
import { join } from 'node:path';

const [home, url, options] = process.argv.slice(2);
const { io } = createRequire(join(home, 'package.json'))('socket.io-client');
const say = (...what) => process.stdout.write(JSON.stringify(what) + '\n');
const socket = io(url, JSON.parse(options));
socket.onAny((name, ...bodies) => say(name, ...bodies));
socket.on('connect', () => say('connect', socket.io.engine.transport.name));
socket.on('connect_error', (error) => say('connect_error', error.message));
socket.on('disconnect', (reason) => say('disconnect', reason));
socket.io.on('reconnect_attempt', (n) => n === 1 && say('reconnecting'));
socket.io.engine.once('upgrade', (transport) => say('upgrade', transport.name));
process.stdin.on('end', () => { socket.close(); process.exit(0); });
process.stdin.resume();
