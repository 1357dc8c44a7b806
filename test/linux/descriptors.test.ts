/** No descriptor is lost or kept, however a connection ends. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { beforeAll, describe, expect, test } from 'vitest';
import {
  connect,
  EventFd,
  linuxPlatform,
  listen,
  openDescriptors,
  SystemError,
} from '../../src/linux/index.ts';
import type { Channel } from '../../src/vfio-user/index.ts';
import { connectedEnds, noKoffi, Heard, pattern, scratchPath, turns, warmUp } from './sockets.ts';

describe.skipIf(noKoffi)('descriptors', () => {
  let bell: EventFd;
  let before: number;

  beforeAll(async () => {
    bell = EventFd.create();
    await warmUp();
    before = openDescriptors();
  });

  const some = (count: number) => Array.from({ length: count }, () => bell.descriptor);

  test('arrive with the first byte of what they were sent with, as other numbers for the same file', async () => {
    const { near, far } = await connectedEnds();
    const heard = new Heard();

    near.send(pattern(10));
    near.send(pattern(20), some(2));
    near.send(pattern(30));
    far.start(heard);
    await heard.until((h) => h.bytes === 60);

    // What was sent before may be read together with them, what was sent after may not.
    expect(heard.reads.map((read) => [read.bytes.length, read.descriptors.length])).toEqual([
      [30, 2],
      [30, 0],
    ]);
    expect(heard.descriptors.every(({ number }) => number !== bell.descriptor.number)).toBe(true);
    heard.release();
    near.close();
    await heard.until((h) => h.closes.length > 0);
    expect(openDescriptors()).toBe(before);
  });

  test('ring the same bell', async () => {
    const { near, far } = await connectedEnds();
    const heard = new Heard();
    far.start(heard);

    near.send(pattern(1), some(1));
    await heard.until((h) => h.bytes === 1);
    for (const descriptor of heard.descriptors) linuxPlatform().eventfds?.signal(descriptor);

    expect(bell.read()).toBe(1n);
    heard.release();
    near.close();
    far.close();
  });

  test('16 with one message are taken', async () => {
    const { near, far } = await connectedEnds();
    const heard = new Heard();
    far.start(heard);

    near.send(pattern(1), some(16));
    await heard.until((h) => h.bytes === 1);

    expect(heard.descriptors.length).toBe(16);
    heard.release();
    near.close();
    far.close();
    expect(openDescriptors()).toBe(before);
  });

  test('17 with one message end the connection, and all of them are closed', async () => {
    const { near, far } = await connectedEnds();
    const heard = new Heard();
    far.start(heard);

    near.send(pattern(1), some(17));
    await heard.until((h) => h.closes.length > 0);

    const [error] = heard.closes;
    expect(error).toBeInstanceOf(SystemError);
    expect((error as SystemError).code).toBe('VIOMMU_DESCRIPTORS_LOST');
    expect(heard.bytes).toBe(0);
    near.close();
    expect(openDescriptors()).toBe(before);
  });

  test('that wait to be sent are held, and released when the channel is closed', async () => {
    const { near, far } = await connectedEnds();
    const other = EventFd.create();

    near.send(pattern(2_000_000));
    near.send(pattern(1), [other.descriptor]);
    other.close();
    const heldWhileQueued = !other.descriptor.closed;
    near.close(true);

    expect(heldWhileQueued).toBe(true);
    expect(other.descriptor.closed).toBe(true);
    far.close();
    expect(openDescriptors()).toBe(before);
  });

  test('that wait to be sent arrive though their owner let go of them', async () => {
    const { near, far } = await connectedEnds();
    const heard = new Heard();
    const other = EventFd.create();

    near.send(pattern(2_000_000));
    near.send(pattern(1), [other.descriptor]);
    other.close();
    far.start(heard);
    await heard.until((h) => h.bytes === 2_000_001);

    expect(heard.descriptors.length).toBe(1);
    expect(other.descriptor.closed).toBe(true);
    heard.release();
    near.close();
    far.close();
    expect(openDescriptors()).toBe(before);
  });

  test('that are closed are not sent: their numbers may be other files by now', async () => {
    const { near, far } = await connectedEnds();
    const other = EventFd.create();
    other.close();

    expect(() => near.send(pattern(1), [other.descriptor])).toThrow(
      `descriptor ${other.descriptor.number} is closed`,
    );

    near.close();
    far.close();
  });

  test('that nobody reads are closed with the channel', async () => {
    const { near, far } = await connectedEnds();

    for (let i = 0; i < 10; i++) near.send(pattern(100), some(16));
    near.close();
    far.close();

    expect(openDescriptors()).toBe(before);
  });

  test('are released exactly once when a peer goes after any byte of a message', async () => {
    const message = pattern(48);
    const received: number[] = [];

    for (let length = 1; length <= message.length; length++) {
      const { near, far } = await connectedEnds();
      const heard = new Heard();
      far.start(heard);
      near.send(message.subarray(0, length), some(2));
      near.close();
      await heard.until((h) => h.closes.length > 0);
      received.push(heard.bytes * 100 + heard.descriptors.length);
      heard.release();
    }

    expect(received).toEqual(Array.from({ length: 48 }, (_, i) => (i + 1) * 100 + 2));
    expect(openDescriptors()).toBe(before);
  });

  test('of a process that is killed amid a message are all accounted for', async () => {
    const path = scratchPath();
    let accept!: (channel: Channel) => void;
    const accepted = new Promise<Channel>((resolve) => {
      accept = resolve;
    });
    const listener = await listen(path, accept);
    const heard = new Heard();
    const child = peer(path);

    (await accepted).start(heard);
    await heard.until((h) => h.bytes > 1_000_000);
    child.kill('SIGKILL');
    await heard.until((h) => h.closes.length > 0);
    await once(child, 'exit');

    expect(heard.closes).toEqual([undefined]);
    expect(heard.descriptors.length).toBeGreaterThan(0);
    heard.release();
    await listener.close();
    await turns();
    expect(openDescriptors()).toBe(before);
  });

  test('of a message that a process never reads stay bounded and go with it', async () => {
    const path = scratchPath();
    let accept!: (channel: Channel) => void;
    const accepted = new Promise<Channel>((resolve) => {
      accept = resolve;
    });
    const listener = await listen(path, accept);
    const near = await connect(path);
    const far = await accepted;
    const heard = new Heard();
    near.start(heard);

    for (let i = 0; i < 1000; i++) near.send(pattern(1000), some(1));
    const queued = near.queuedBytes;
    far.close(true);
    await heard.until((h) => h.closes.length > 0);

    expect(queued).toBeGreaterThan(500_000);
    expect(near.queuedBytes).toBe(0);
    await listener.close();
    expect(openDescriptors()).toBe(before);
  });

  test('for which a process has no room end the connection that brought them, and nothing else', async () => {
    const path = scratchPath();
    const script = `
      import { listen } from ${JSON.stringify(room)};
      setTimeout(() => process.exit(), 20_000);
      const held = [];
      const listener = await listen(${JSON.stringify(path)}, (channel) => {
        channel.start({
          received(bytes, descriptors) { held.push(...descriptors); channel.send(bytes); },
          idle() {}, drained() {},
          closed(error) { console.log(error?.code); for (const one of held.splice(0)) one.release(); },
        });
      });
      console.log('ready');
      process.on('SIGTERM', () => void listener.close().then(() => process.exit()));
    `;
    const child = module(script, 100);
    const lines = linesOf(child);
    await lines('ready');

    const flooding = await connect(path);
    const atFlooding = new Heard();
    flooding.start(atFlooding);
    for (let i = 0; i < 20; i++) flooding.send(pattern(1), some(16));
    await atFlooding.until((h) => h.closes.length > 0);
    const said = await lines('VIOMMU_DESCRIPTORS_LOST');
    const other = await connect(path);
    const atOther = new Heard();
    other.start(atOther);
    other.send(pattern(1), some(16));
    await atOther.until((h) => h.bytes === 1);
    other.close();
    child.kill();
    await once(child, 'exit');

    expect(said).toBe('VIOMMU_DESCRIPTORS_LOST');
    await turns();
    expect(openDescriptors()).toBe(before);
  });

  test('all in use keep a process from accepting only until some are free', async () => {
    const path = scratchPath();
    const script = `
      import { listen } from ${JSON.stringify(room)};
      setTimeout(() => process.exit(), 20_000);
      await listen(${JSON.stringify(path)}, (channel) => {
        channel.start({ received: (bytes) => channel.send(bytes), idle() {}, drained() {}, closed() {} });
      });
      console.log('ready');
    `;
    const child = module(script, 60);
    await linesOf(child)('ready');

    const many = await Promise.all(Array.from({ length: 80 }, () => connect(path)));
    const last = many[79] as Channel;
    const heard = new Heard();
    last.start(heard);
    last.send(pattern(1));
    await turns();
    const whileFull = heard.bytes;
    for (const channel of many.slice(0, 79)) channel.close();
    await heard.until((h) => h.bytes === 1);
    last.close();
    child.kill('SIGKILL');
    await once(child, 'exit');

    expect(whileFull).toBe(0);
    await turns();
    expect(openDescriptors()).toBe(before);
  });

  test('all in use do not end a process that has no koffi', async () => {
    const path = scratchPath();
    const script = `
      import { listen } from ${JSON.stringify(room)};
      setTimeout(() => process.exit(), 20_000);
      await listen(${JSON.stringify(path)}, (channel) => {
        channel.start({ received: (bytes) => channel.send(bytes), idle() {}, drained() {}, closed() {} });
      });
      console.log('ready');
    `;
    const child = module(script, 60, { VIOMMU_NO_KOFFI: '1' });
    await linesOf(child)('ready');

    const many = await Promise.all(Array.from({ length: 80 }, () => connect(path)));
    await turns();
    for (const channel of many) channel.close();
    const last = await connect(path);
    const heard = new Heard();
    last.start(heard);
    last.send(pattern(1));
    await heard.until((h) => h.bytes === 1 || h.closes.length > 0);
    const { exitCode } = child;
    last.close();
    child.kill('SIGKILL');
    await once(child, 'exit');

    expect(heard.bytes).toBe(1);
    expect(exitCode).toBe(null);
  });
});

const room = new URL('../../src/linux/index.ts', import.meta.url).href;

/** A process that runs `script`, with so many descriptors at the most. */
function module(script: string, descriptors: number, env: NodeJS.ProcessEnv = {}): ChildProcess {
  const limited = `ulimit -n ${descriptors} && exec "$0" "$@"`;
  const command = [process.execPath, '--import', 'tsx', '--input-type=module', '-e', script];
  return spawn('sh', ['-c', limited, ...command], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, ...env },
  });
}

/** Waits for a line that a process prints. */
function linesOf(child: ChildProcess): (line: string) => Promise<string> {
  const seen: string[] = [];
  let wake: (() => void) | undefined;
  child.stdout?.setEncoding('utf8').on('data', (text: string) => {
    seen.push(...text.trim().split('\n'));
    wake?.();
  });
  return async (line) => {
    while (!seen.includes(line)) {
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
    return line;
  };
}

/** A process that connects and sends messages with descriptors for as long as it lives. */
function peer(path: string): ChildProcess {
  return module(
    `
      import { connect, EventFd } from ${JSON.stringify(room)};
      const channel = await connect(${JSON.stringify(path)});
      const bell = EventFd.create();
      setTimeout(() => process.exit(), 20_000);
      const more = () => { while (channel.queuedBytes < 100_000) channel.send(new Uint8Array(10_000), [bell.descriptor]); };
      channel.start({ received() {}, idle() {}, drained: more, closed() { process.exit(); } });
      more();
    `,
    1024,
  );
}
