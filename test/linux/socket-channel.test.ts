import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { EventFd, openDescriptors } from '../../src/linux/index.ts';
import { connectedEnds, noKoffi, Heard, pattern, turns, warmUp } from './sockets.ts';

describe.skipIf(noKoffi)('a socket channel', () => {
  test('hands over bytes, then says that it is idle', async () => {
    const { near, far } = await connectedEnds();
    const heard = new Heard();
    far.start(heard);

    near.send(pattern(100));
    await heard.until((h) => h.idles === 1);

    expect(heard.whole()).toEqual(Buffer.from(pattern(100)));
    near.close();
    far.close();
  });

  test('carries MiBs both ways at once, in order', async () => {
    const { near, far } = await connectedEnds();
    const [atNear, atFar] = [new Heard(), new Heard()];
    near.start(atNear);
    far.start(atFar);
    const up = pattern(5_000_001);
    const down = pattern(3_000_003, 7);

    for (let at = 0; at < up.length; at += 65_537) near.send(up.subarray(at, at + 65_537));
    for (let at = 0; at < down.length; at += 4001) far.send(down.subarray(at, at + 4001));
    await atFar.until((h) => h.bytes >= up.length);
    await atNear.until((h) => h.bytes >= down.length);

    expect(Buffer.compare(atFar.whole(), up)).toBe(0);
    expect(Buffer.compare(atNear.whole(), down)).toBe(0);
    expect(near.queuedBytes + far.queuedBytes).toBe(0);
    near.close();
    far.close();
  });

  test('sends what the caller overwrites afterwards as it was', async () => {
    const { near, far } = await connectedEnds();
    const heard = new Heard();
    const bytes = new Uint8Array(1_000_000).fill(1);

    near.send(bytes);
    bytes.fill(2);
    far.start(heard);
    await heard.until((h) => h.bytes === 1_000_000);

    expect(heard.whole().every((byte) => byte === 1)).toBe(true);
    near.close();
    far.close();
  });

  test('keeps what a peer does not read, and says when all of it is taken', async () => {
    const { near, far } = await connectedEnds();
    const [atNear, atFar] = [new Heard(), new Heard()];
    near.start(atNear);

    for (let i = 0; i < 100; i++) near.send(pattern(20_000, i));
    const queued = near.queuedBytes;
    await turns();
    const drainedBefore = atNear.drains;
    far.start(atFar);
    await atNear.until((h) => h.drains > 0);
    await atFar.until((h) => h.bytes === 2_000_000);

    expect(queued).toBeGreaterThan(1_000_000);
    expect(drainedBefore).toBe(0);
    expect(near.queuedBytes).toBe(0);
    expect(atNear.drains).toBe(1);
    near.close();
    far.close();
  });

  test('goes on sending in a turn that does not end while the peer reads, and then says that all is taken', async () => {
    const { near, far } = await connectedEnds();
    const [atNear, atFar] = [new Heard(), new Heard()];
    near.start(atNear);
    const room = 20_000;
    while (near.queuedBytes === 0) near.send(pattern(room));
    far.start(atFar);
    // What the far end reads in this turn makes room that the near end has not heard of.
    atFar.onReceived = () => {
      if (atFar.reads.length > 1) return;
      near.send(pattern(room));
      queued = near.queuedBytes;
    };
    const before = near.queuedBytes;
    let queued = before + room;
    await atNear.until((h) => h.drains > 0);

    expect(queued).toBeLessThan(before + room);
    expect([near.queuedBytes, atNear.drains]).toEqual([0, 1]);
    near.close();
    far.close();
  });

  test('hands over nothing while it is paused, and all of it afterwards', async () => {
    const { near, far } = await connectedEnds();
    const heard = new Heard();
    far.start(heard);
    far.pause();

    near.send(pattern(1000));
    await turns();
    const whilePaused = heard.bytes;
    far.resume();
    await heard.until((h) => h.bytes === 1000);

    expect(whilePaused).toBe(0);
    near.close();
    far.close();
  });

  test('stops in the middle of what has arrived when it is paused from inside', async () => {
    const { near, far } = await connectedEnds();
    const heard = new Heard();
    heard.onReceived = () => far.pause();
    for (let i = 0; i < 5; i++) near.send(pattern(60_000));

    far.start(heard);
    await heard.until((h) => h.reads.length === 1);
    await turns();

    expect(heard.reads.length).toBe(1);
    near.close();
    far.close();
  });

  test('ends when the peer goes while it is paused', async () => {
    const { near, far } = await connectedEnds();
    const heard = new Heard();
    far.start(heard);
    far.pause();
    near.send(pattern(1000));
    await turns();

    near.close();
    await heard.until((h) => h.closes.length > 0);

    expect(heard.bytes).toBe(0);
    expect(heard.closes).toEqual([undefined]);
  });

  test('ends when the peer goes without reading while it is paused', async () => {
    const { near, far } = await connectedEnds();
    const heard = new Heard();
    far.start(heard);
    far.send(pattern(1000));
    far.pause();
    await turns();

    near.close();
    await heard.until((h) => h.closes.length > 0);

    expect(heard.closes).toEqual([undefined]);
  });

  test('ends when the peer goes while it is paused and has much to send', async () => {
    const { near, far } = await connectedEnds();
    const heard = new Heard();
    far.start(heard);
    far.pause();
    far.send(pattern(2_000_000));
    await turns();

    near.close();
    await heard.until((h) => h.closes.length > 0);

    expect(far.queuedBytes).toBe(0);
    expect(heard.closes).toEqual([undefined]);
  });

  test('goes on when it is resumed before the peer goes', async () => {
    const { near, far } = await connectedEnds();
    const heard = new Heard();
    far.start(heard);
    far.pause();
    await turns();
    far.resume();

    near.send(pattern(1000));
    near.close();
    await heard.until((h) => h.closes.length > 0);

    expect(heard.bytes).toBe(1000);
  });

  test('hears nothing before it is started', async () => {
    const { near, far } = await connectedEnds();
    near.send(pattern(10));
    near.close();
    await turns();
    const heard = new Heard();

    far.start(heard);
    await heard.until((h) => h.closes.length === 1);

    expect(heard.bytes).toBe(10);
  });

  test('delivers what was sent before close, then ends on both sides without error', async () => {
    const { near, far } = await connectedEnds();
    const [atNear, atFar] = [new Heard(), new Heard()];
    near.start(atNear);
    for (let i = 0; i < 50; i++) near.send(pattern(20_000));

    near.close();
    near.send(pattern(5));
    far.start(atFar);
    await atFar.until((h) => h.closes.length > 0);
    await atNear.until((h) => h.closes.length > 0);

    expect(atFar.bytes).toBe(1_000_000);
    expect(atFar.closes).toEqual([undefined]);
    expect(atNear.closes).toEqual([undefined]);
  });

  test('drops what waits when it is closed with discard', async () => {
    const { near, far } = await connectedEnds();
    const [atNear, atFar] = [new Heard(), new Heard()];
    near.start(atNear);
    for (let i = 0; i < 50; i++) near.send(pattern(20_000));

    near.close(true);
    await atNear.until((h) => h.closes.length > 0);
    far.start(atFar);
    await atFar.until((h) => h.closes.length > 0);

    expect(near.queuedBytes).toBe(0);
    expect(atFar.bytes).toBeLessThan(1_000_000);
  });

  test('receives nothing after close from inside a read, and is closed once', async () => {
    const { near, far } = await connectedEnds();
    const heard = new Heard();
    heard.onReceived = () => far.close();
    for (let i = 0; i < 10; i++) near.send(pattern(60_000));

    far.start(heard);
    await heard.until((h) => h.closes.length > 0);
    far.close(true);
    await turns();

    expect(heard.reads.length).toBe(1);
    expect(heard.closes).toEqual([undefined]);
    near.close(true);
  });

  test('ends when sending finds the peer gone, and drops what waits', async () => {
    const { near, far } = await connectedEnds();
    const heard = new Heard();
    near.start(heard);
    near.pause();
    far.close();
    await turns();

    near.send(pattern(1000));
    await heard.until((h) => h.closes.length > 0);

    expect(heard.closes).toEqual([undefined]);
    expect(near.queuedBytes).toBe(0);
  });

  test('hands over what a peer sent before it went, though nothing can be sent to it any more', async () => {
    const { near, far } = await connectedEnds();
    far.send(pattern(300_000));
    far.close();
    await turns();
    const heard = new Heard();

    near.start(heard);
    near.send(pattern(10));
    await heard.until((h) => h.closes.length > 0);

    expect(heard.bytes).toBeGreaterThan(100_000);
    expect(heard.closes).toEqual([undefined]);
  });

  test('takes a listener that throws for the end of its connection only', async () => {
    const { near, far } = await connectedEnds();
    const heard = new Heard();
    heard.onReceived = () => {
      throw new Error('a mistake');
    };
    far.start(heard);

    near.send(pattern(10));
    await heard.until((h) => h.closes.length > 0);

    expect(heard.closes).toEqual([new Error('a mistake')]);
    near.close();
  });

  test('refuses more descriptors with one message than Linux passes', async () => {
    const { near, far } = await connectedEnds();
    const bell = EventFd.create();
    const many = Array.from({ length: 254 }, () => bell.descriptor);

    expect(() => near.send(pattern(1), many)).toThrow('254 descriptors with one message: Linux passes 253');

    bell.close();
    near.close();
    far.close();
  });

  test.each([0, 50, 5000])(
    'answers every message, looking up to %d us for the next',
    async (spinMicroseconds) => {
      const { near, far } = await connectedEnds({ spinMicroseconds });
      const [atNear, atFar] = [new Heard(), new Heard()];
      near.start(atNear);
      far.start(atFar);
      // As a device does whose answer takes a few promises.
      const answer = async (bytes: Uint8Array): Promise<void> => {
        await Promise.resolve();
        await Promise.resolve();
        far.send(bytes);
      };
      atFar.onReceived = (bytes) => void answer(bytes.slice());
      atNear.onReceived = () => {
        if (atNear.reads.length < 300) near.send(pattern(16));
      };

      near.send(pattern(16));
      await atNear.until((h) => h.bytes === 300 * 16);

      expect(atFar.bytes).toBe(300 * 16);
      near.close();
      far.close();
    },
  );

  test('carries any sequence of sends, with descriptors where they belong', async () => {
    const bell = EventFd.create();
    await warmUp();
    const before = openDescriptors();

    await fc.assert(
      fc.asyncProperty(
        fc.array(
          fc.record({ size: fc.integer({ min: 1, max: 200_000 }), fds: fc.constantFrom(0, 0, 0, 1, 2, 16) }),
          {
            minLength: 1,
            maxLength: 20,
          },
        ),
        fc.boolean(),
        async (messages, late) => {
          const { near, far } = await connectedEnds();
          const heard = new Heard();
          if (!late) far.start(heard);
          let total = 0;
          const expected: { ends: number; starts: number; fds: number }[] = [];
          for (const { size, fds } of messages) {
            near.send(
              pattern(size, total),
              Array.from({ length: fds }, () => bell.descriptor),
            );
            if (fds > 0) expected.push({ starts: total, ends: total + size, fds });
            total += size;
          }
          near.close();
          if (late) far.start(heard);
          await heard.until((h) => h.closes.length > 0);

          let at = 0;
          const seen: { from: number; to: number; fds: number }[] = [];
          for (const { bytes, descriptors } of heard.reads) {
            if (descriptors.length > 0)
              seen.push({ from: at, to: at + bytes.length, fds: descriptors.length });
            at += bytes.length;
          }
          heard.release();
          expect(seen.map((s) => s.fds)).toEqual(expected.map((e) => e.fds));
          // The read begins no later than the message, and no other message begins after it in the same read.
          for (const [i, { from, to }] of seen.entries()) {
            expect(from).toBeLessThanOrEqual(expected[i]?.starts ?? -1);
            expect(to).toBeGreaterThan(expected[i]?.starts ?? -1);
            expect(to).toBeLessThanOrEqual(expected[i]?.ends ?? -1);
          }
          const whole = Buffer.concat(
            messages.map(({ size }, i) => {
              const start = messages.slice(0, i).reduce((sum, m) => sum + m.size, 0);
              return pattern(size, start);
            }),
          );
          expect(Buffer.compare(heard.whole(), whole)).toBe(0);
        },
      ),
      { numRuns: 25 },
    );

    expect(openDescriptors()).toBe(before);
    bell.close();
  });
});
