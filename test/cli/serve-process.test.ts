import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { connect, linuxPlatform, MemfdRamBlock } from '../../src/linux/index.ts';
import {
  Command,
  Connection,
  dmaMapRequest,
  dmaUnmapRequest,
  type Reply,
  versionRequest,
} from '../../src/vfio-user/index.ts';
import { jsonLines, linesOf } from './console.ts';

const main = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url));
const linux = process.platform === 'linux';
const withDescriptors = linuxPlatform().mode === 'descriptors';

/** A command as a process of its own. */
class Running {
  out = '';
  err = '';
  readonly child: ChildProcess;
  readonly ended: Promise<number | null>;

  constructor(args: readonly string[], env: Record<string, string> = {}) {
    this.child = spawn(process.execPath, ['--import', 'tsx', main, ...args], {
      env: { ...process.env, ...env },
    });
    this.child.stdout?.setEncoding('utf8').on('data', (text: string) => (this.out += text));
    this.child.stderr?.setEncoding('utf8').on('data', (text: string) => (this.err += text));
    this.ended = new Promise((resolve) => this.child.on('close', resolve));
  }

  /** Resolves when `done` holds, which is looked at whenever something was written. */
  async until(done: (running: Running) => boolean): Promise<void> {
    while (!done(this)) {
      await Promise.race([
        new Promise((resolve) => this.child.stdout?.once('data', resolve)),
        new Promise((resolve) => this.child.stderr?.once('data', resolve)),
        this.ended.then((code) => Promise.reject(new Error(`ended with ${code}: ${this.err}`))),
      ]);
    }
  }
}

async function client(path: string): Promise<Connection> {
  const connection = new Connection(await connect(path), {
    name: 'server',
    onCommand: (command) => command.fail(38),
  });
  const capabilities = { maxMsgFds: 16, maxDmaMaps: 65_535 };
  await connection.request(Command.VERSION, versionRequest.encode({ major: 0, minor: 0, capabilities }));
  return connection;
}

function map(connection: Connection, page: number, ram?: MemfdRamBlock): Promise<Reply> {
  const address = BigInt(page) * 4096n;
  const payload = dmaMapRequest.encode({ read: true, write: true, offset: 0n, address, size: 4096n });
  return connection.request(Command.DMA_MAP, payload, ram === undefined ? [] : [ram.share.descriptor]);
}

describe.runIf(linux)('as processes', () => {
  let folder: string;
  let socket: string;
  let running: Running[];

  const start = async (args: readonly string[], env?: Record<string, string>): Promise<Running> => {
    const command = new Running(args, env);
    running.push(command);
    await command.until(({ out, err }) => (out + err).includes('listening on'));
    return command;
  };

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'viommu-serve-'));
    socket = join(folder, 's.sock');
    running = [];
  });

  afterEach(async () => {
    for (const { child } of running) child.kill('SIGKILL');
    await Promise.all(running.map(({ ended }) => ended));
    rmSync(folder, { recursive: true, force: true });
  });

  test('maps over a real socket, ledger by SIGUSR1 and by a line, and a clean end', async () => {
    const command = await start(['serve', '--socket', socket, '--json']);
    const connection = await client(socket);
    const ram = withDescriptors ? MemfdRamBlock.create('ram', 16) : undefined;
    await map(connection, 1, ram);
    await map(connection, 7, ram);
    await connection.request(
      Command.DMA_UNMAP,
      dmaUnmapRequest.encode({ dirtyBitmap: false, all: false, address: 0x7000n, size: 0x1000n }),
    );

    command.child.kill('SIGUSR1');
    await command.until(({ out }) => out.includes('ledger'));
    command.child.stdin?.end('ledger\n');
    await command.until(({ out }) => out.split('ledger').length === 3);
    connection.close('done');
    await command.until(({ err }) => err.includes('disconnected'));
    command.child.kill('SIGTERM');

    expect(await command.ended).toBe(0);
    ram?.close();
    const ledger = { ledger: [{ iova: '0x1000', size: 4096, offset: '0x0', perm: 'rw' }] };
    const lines = jsonLines(command.out) as { op?: string; result?: string }[];
    expect(lines.map(({ op, result }) => [op, result])).toEqual([
      ['map', 'ok'],
      ['map', 'ok'],
      ['unmap', 'ok'],
      [undefined, undefined],
      [undefined, undefined],
    ]);
    expect(lines.slice(3)).toEqual([ledger, ledger]);
    expect(command.err).not.toContain('Debugger');
    expect(existsSync(socket)).toBe(false);
  });

  test('without koffi it serves messages, and says so once', async () => {
    const command = await start(['serve', '--socket', socket, '--json'], { VIOMMU_NO_KOFFI: '1' });
    const connection = await client(socket);

    await map(connection, 1);
    await command.until(({ out }) => out.includes('"op":"map"'));
    command.child.kill('SIGINT');

    expect(await command.ended).toBe(0);
    expect(command.err.match(/message mode/g)).toHaveLength(1);
    expect((await connection.closed).kind).toBe('closed-by-peer');
  });

  test('a proxy between two processes', async () => {
    const front = join(folder, 'front.sock');
    const server = await start(['serve', '--socket', socket, '--json', '--strict']);
    const proxy = await start(['proxy', '--listen', front, '--connect', socket, '--json']);
    const connection = await client(front);
    for (let page = 0; page < 100; page++) void map(connection, page);

    await connection.request(
      Command.DMA_UNMAP,
      dmaUnmapRequest.encode({ dirtyBitmap: false, all: false, address: 0n, size: 2n ** 40n }),
    );
    await proxy.until(({ out }) => out.includes('"removed":100}'));
    await server.until(({ out }) => linesOf(out).length === 200);
    proxy.child.kill('SIGTERM');

    expect(await proxy.ended).toBe(0);
    expect(existsSync(front)).toBe(false);
    expect(linesOf(server.out).filter((line) => !line.includes('"result":"ok"'))).toEqual([]);
    await server.until(({ err }) => err.includes('disconnected'));
  });

  test('a path that somebody listens on', async () => {
    await start(['serve', '--socket', socket, '--json']);

    const second = new Running(['serve', '--socket', socket]);

    expect(await second.ended).toBe(2);
    expect(second.err).toContain('another process listens there already; stop it, or choose another path');
    expect(existsSync(socket)).toBe(true);
  });

  test('a file that is left of a process that was killed is replaced', async () => {
    const first = await start(['serve', '--socket', socket, '--json']);
    first.child.kill('SIGKILL');
    await first.ended;

    const second = await start(['serve', '--socket', socket, '--json']);
    second.child.kill('SIGTERM');

    expect(await second.ended).toBe(0);
    expect(existsSync(socket)).toBe(false);
  });

  test.each([
    [
      'a folder that does not exist',
      'none/s.sock',
      'the folder does not exist: create it, or choose another path',
    ],
    [
      'a file that is no socket',
      'file',
      'is no socket, so it is left alone: remove it, or choose another path',
    ],
    ['a path of more than 107 bytes', 'x'.repeat(120), 'choose a shorter one'],
  ])('%s', async (_what, name, said) => {
    writeFileSync(join(folder, 'file'), '');

    const command = new Running(['serve', '--socket', join(folder, name)]);

    expect(await command.ended).toBe(2);
    expect(command.out).toBe('');
    expect(linesOf(command.err)).toHaveLength(1);
    expect(command.err).toContain(said);
  });

  test('head takes what it wants, and the socket is gone', async () => {
    const line = `"${process.execPath}" --import tsx "${main}" serve --socket "${socket}" --json | head -n 1`;
    const shell = spawn('/bin/sh', ['-c', line], { stdio: ['ignore', 'pipe', 'pipe'] });
    let out = '';
    let err = '';
    shell.stdout.setEncoding('utf8').on('data', (text: string) => (out += text));
    const ended = new Promise((resolve) => shell.on('close', resolve));
    await new Promise<void>((resolve) => {
      shell.stderr.setEncoding('utf8').on('data', (text: string) => {
        err += text;
        if (err.includes('listening on')) resolve();
      });
    });
    const connection = await client(socket);

    for (let page = 0; page < 1000 && connection.isOpen; page++) {
      await map(connection, page).catch(() => {});
    }

    await connection.closed;
    await ended;
    expect(linesOf(out)).toHaveLength(1);
    expect(err).not.toContain('error');
    expect(existsSync(socket)).toBe(false);
  });

  test('what is no vfio-user client is turned away with a reason', async () => {
    const command = await start(['serve', '--socket', socket, '--json']);
    const connection = new Connection(await connect(socket), { name: 'server', onCommand: () => {} });

    const { errno } = await connection.request(Command.DEVICE_GET_INFO);

    expect(errno).toBe(22);
    await command.until(({ err }) => err.includes('its first command is DEVICE_GET_INFO'));
    command.child.kill('SIGTERM');
    expect(await command.ended).toBe(0);
  });
});

test('another program’s socket is in use, too', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'viommu-serve-'));
  const socket = join(folder, 's.sock');
  const other = createServer();
  await new Promise<void>((resolve) => other.listen(socket, resolve));

  const command = new Running(['serve', '--socket', socket]);
  const code = await command.ended;

  await new Promise((resolve) => other.close(resolve));
  rmSync(folder, { recursive: true, force: true });
  expect(code).toBe(2);
  expect(command.err).toContain('another process listens there already');
});
