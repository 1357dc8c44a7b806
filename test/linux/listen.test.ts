import { spawnSync } from 'node:child_process';
import { existsSync, statSync, unlinkSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { afterEach, describe, expect, test, vi } from 'vitest';
import {
  connect,
  EventFd,
  linuxPlatform,
  listen,
  openDescriptors,
  SystemError,
} from '../../src/linux/index.ts';
import { Descriptor } from '../../src/vfio-user/index.ts';
import { Heard, noKoffi, pattern, scratchPath } from './sockets.ts';

const kinds = [
  { kind: 'with koffi', absent: '', skip: noKoffi },
  { kind: 'without koffi', absent: '1', skip: process.platform === 'win32' },
];

/** What a call rejects with. */
async function failure(call: Promise<unknown>): Promise<SystemError> {
  const error: unknown = await call.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(SystemError);
  return error as SystemError;
}

describe.each(kinds)('listening and connecting $kind', ({ absent, skip }) => {
  const choose = (): void => void vi.stubEnv('VIOMMU_NO_KOFFI', absent);
  afterEach(() => vi.unstubAllEnvs());

  test.skipIf(skip)('hands over a channel for each connection and removes the file at the end', async () => {
    choose();
    const path = scratchPath();
    const heard: Heard[] = [];
    const listener = await listen(path, (channel) => {
      heard.push(new Heard());
      channel.start(heard[heard.length - 1] as Heard);
    });

    const clients = await Promise.all([connect(path), connect(path), connect(path)]);
    const atClients = clients.map((client) => {
      const hears = new Heard();
      client.start(hears);
      client.close();
      return hears;
    });
    for (const hears of atClients) await hears.until((h) => h.closes.length > 0);
    while (heard.length < 3) await new Promise(setImmediate);
    for (const hears of heard) await hears.until((h) => h.closes.length > 0);
    await listener.close();

    expect(heard.length).toBe(3);
    expect(existsSync(path)).toBe(false);
  });

  test.skipIf(skip)('lets only the same user connect', async () => {
    choose();
    const path = scratchPath();

    const listener = await listen(path, (channel) => channel.close());
    const mode = statSync(path).mode & 0o777;
    await listener.close();

    expect(mode).toBe(0o600);
  });

  test.skipIf(skip)('gives the file the permissions that it is told', async () => {
    choose();
    const path = scratchPath();

    const listener = await listen(path, (channel) => channel.close(), { mode: 0o666 });
    const mode = statSync(path).mode & 0o777;
    await listener.close();

    expect(mode).toBe(0o666);
  });

  test.skipIf(skip)('replaces the file of a process that died', async () => {
    choose();
    const path = scratchPath();
    const script = `require('node:net').createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, 'SIGKILL'))`;
    spawnSync(process.execPath, ['-e', script]);
    const stale = existsSync(path);

    const listener = await listen(path, (channel) => channel.close());
    const client = await connect(path);
    client.close();
    await listener.close();

    expect(stale).toBe(true);
  });

  test.skipIf(skip)('refuses a path on which somebody listens, and leaves that alone', async () => {
    choose();
    const path = scratchPath();
    const other = createServer();
    await new Promise<void>((resolve) => void other.listen(path, resolve));

    const error = await failure(listen(path, (channel) => channel.close()));

    expect(error.code).toBe('VIOMMU_SOCKET_IN_USE');
    expect(error.message).toBe(
      `${path}: another process listens there already; stop it, or choose another path`,
    );
    expect(existsSync(path)).toBe(true);
    other.close();
  });

  test.skipIf(skip)('refuses to replace a file that is no socket', async () => {
    choose();
    const path = scratchPath();
    writeFileSync(path, 'precious');

    const error = await failure(listen(path, (channel) => channel.close()));

    expect(error.code).toBe('VIOMMU_SOCKET_PATH');
    expect(error.message).toContain('exists and is no socket');
    expect(existsSync(path)).toBe(true);
  });

  test.skipIf(skip)('takes a path of 107 bytes', async () => {
    choose();
    const folder = scratchPath('');
    const path = folder + 'x'.repeat(107 - Buffer.byteLength(folder));

    const listener = await listen(path, (channel) => channel.close());
    const client = await connect(path);
    client.close();
    await listener.close();

    expect(Buffer.byteLength(path)).toBe(107);
  });

  test.skipIf(skip)('says in words that a path is too long', async () => {
    choose();
    const folder = scratchPath('');
    const path = folder + 'x'.repeat(108 - Buffer.byteLength(folder));

    const errors = [await failure(listen(path, (channel) => channel.close())), await failure(connect(path))];

    expect(errors.map((error) => error.code)).toEqual(['VIOMMU_SOCKET_PATH', 'VIOMMU_SOCKET_PATH']);
    expect(errors[0]?.message).toBe(
      `the socket path ${path} has 108 bytes, of which Linux takes 107: choose a shorter one, or a path relative to the ` +
        'working directory',
    );
  });

  test.skipIf(skip).each(['', 'a\0b'])('refuses %j as a path', async (path) => {
    choose();

    const errors = [await failure(listen(path, (channel) => channel.close())), await failure(connect(path))];

    expect(errors.map((error) => error.code)).toEqual(['VIOMMU_SOCKET_PATH', 'VIOMMU_SOCKET_PATH']);
  });

  test.skipIf(skip)('says that there is nobody to connect to', async () => {
    choose();
    const missing = scratchPath('missing');
    const stale = scratchPath('stale');
    const script = `require('node:net').createServer().listen(${JSON.stringify(stale)}, () => process.kill(process.pid, 'SIGKILL'))`;
    spawnSync(process.execPath, ['-e', script]);

    const errors = [await failure(connect(missing)), await failure(connect(stale))];

    expect(errors.map((error) => [error.code, error.message])).toEqual([
      [
        'VIOMMU_NO_LISTENER',
        `${missing}: there is no such socket; start the server first, or check the path`,
      ],
      [
        'VIOMMU_NO_LISTENER',
        `${stale}: nobody listens on this socket; start the server first, or check the path`,
      ],
    ]);
  });

  test.skipIf(skip)('keeps no descriptor of what failed', async () => {
    choose();
    const path = scratchPath();
    const listener = await listen(path, (channel) => channel.close());
    await failure(listen(path, (channel) => channel.close()));
    await new Promise((resolve) => setTimeout(resolve, 5));
    const before = openDescriptors();

    await failure(listen(path, (channel) => channel.close()));
    await failure(connect(scratchPath('missing')));
    await new Promise((resolve) => setTimeout(resolve, 5));

    expect(openDescriptors()).toBe(before);
    await listener.close();
  });
});

describe('a listener with koffi', () => {
  test.skipIf(noKoffi)(
    'leaves a file alone that another process has put in the place of its own',
    async () => {
      const path = scratchPath();
      const listener = await listen(path, (channel) => channel.close());
      unlinkSync(path);
      writeFileSync(path, 'another');

      await listener.close();

      expect(existsSync(path)).toBe(true);
    },
  );
});

describe('a channel without koffi', () => {
  afterEach(() => vi.unstubAllEnvs());

  test.skipIf(noKoffi)('talks to one with koffi, in both directions, without descriptors', async () => {
    const path = scratchPath();
    const atServer = new Heard();
    const listener = await listen(path, (channel) => {
      channel.start(atServer);
      atServer.onReceived = (bytes) => channel.send(bytes);
    });
    vi.stubEnv('VIOMMU_NO_KOFFI', '1');
    const client = await connect(path);
    const atClient = new Heard();
    client.start(atClient);

    const sent = pattern(3_000_000);
    client.send(sent);
    await atClient.until((h) => h.bytes === sent.length && h.drains > 0);
    client.close();
    await atServer.until((h) => h.closes.length > 0);
    await listener.close();

    expect(client.passesDescriptors).toBe(false);
    expect(Buffer.compare(atClient.whole(), sent)).toBe(0);
    expect(atServer.closes).toEqual([undefined]);
  });

  test.skipIf(noKoffi)('drops descriptors that a peer sends, and they are closed', async () => {
    const path = scratchPath();
    const bell = EventFd.create();
    vi.stubEnv('VIOMMU_NO_KOFFI', '1');
    const atServer = new Heard();
    const listener = await listen(path, (channel) => channel.start(atServer));
    vi.unstubAllEnvs();
    const client = await connect(path);
    const before = openDescriptors();

    client.send(pattern(10), [bell.descriptor]);
    await atServer.until((h) => h.bytes === 10);

    expect(atServer.descriptors).toEqual([]);
    // The connection's own at the server was accepted in between.
    expect(openDescriptors()).toBe(before + 1);
    client.close();
    bell.close();
    await listener.close();
  });

  test('refuses to send descriptors', async () => {
    const path = scratchPath();
    vi.stubEnv('VIOMMU_NO_KOFFI', '1');
    const listener = await listen(path, (channel) => channel.start(new Heard()));
    const client = await connect(path);

    expect(() => client.send(pattern(1), [new Descriptor(0, () => {})])).toThrow('passes no descriptors');

    client.close();
    await listener.close();
  });

  test('delivers what was sent before close, receives nothing after it, and ends once', async () => {
    const path = scratchPath();
    vi.stubEnv('VIOMMU_NO_KOFFI', '1');
    const atServer = new Heard();
    const listener = await listen(path, (channel) => {
      channel.start(atServer);
      channel.send(pattern(100_000));
    });
    const client = await connect(path);
    const atClient = new Heard();
    client.start(atClient);

    client.send(pattern(2_000_000));
    client.close();
    client.close();
    await atServer.until((h) => h.closes.length > 0);
    await atClient.until((h) => h.closes.length > 0);
    await listener.close();

    expect(atServer.bytes).toBe(2_000_000);
    expect([atClient.bytes, atClient.closes]).toEqual([0, [undefined]]);
  });
});

describe('without koffi', () => {
  afterEach(() => vi.unstubAllEnvs());

  test('the platform says why there are only messages', () => {
    vi.stubEnv('VIOMMU_NO_KOFFI', '1');

    const platform = linuxPlatform();

    expect([platform.mode, platform.files, platform.eventfds, platform.why]).toEqual([
      'messages',
      undefined,
      undefined,
      'VIOMMU_NO_KOFFI=1 is set in the environment',
    ]);
  });
});
