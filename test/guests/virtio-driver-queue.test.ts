import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { dmaWrite } from '../../src/memory/index.ts';
import { spec } from '../../src/models/virtio/index.ts';
import type { VirtioIommuRequest } from '../../src/guests/index.ts';
import { plainWorld } from './virtio-driver-device.ts';

async function booted(options: { queueSize?: number; events?: { count: number; bytes: number } } = {}) {
  const world = plainWorld();
  await world.driver.boot(options);
  world.device.heard.splice(0);
  return world;
}

const probe = (endpoint: number): VirtioIommuRequest => ({ type: spec.T_PROBE, endpoint });
const detach = (domain: number): VirtioIommuRequest => ({ type: spec.T_DETACH, domain, endpoint: 0 });
const SMALL: VirtioIommuRequest = { type: 'raw', readable: [], writable: [4] };
const tail = (status: number) => Uint8Array.of(status, 0, 0, 0);

describe('the request queue', () => {
  test('several requests are told with one notification, in their order', async () => {
    const { driver, device } = await booted();
    const work = device.work;
    device.work = () => undefined;

    const answers = driver.submit([probe(1), probe(2), probe(3)]);
    const seen = device.requests.map(({ readable }) => spec.decodeRequest(readable));
    device.work = work;
    await Promise.all(answers);

    expect(device.heard).toEqual(['notify 0']);
    expect(seen).toEqual([probe(1), probe(2), probe(3)]);
  });

  test('answers out of order reach the requests that they are for', async () => {
    const { driver, device } = await booted();
    device.work = () => {
      for (const buffer of device.requests.splice(0).toReversed()) {
        device.answer(buffer, tail(buffer.readable[4] ?? 0));
      }
    };

    const results = await Promise.all([3, 4, 5].map((domain) => driver.request(detach(domain))));

    expect(results.map(({ status }) => status)).toEqual([3, 4, 5]);
  });

  test('requests beyond the room of the queue follow when there is room, in their order', async () => {
    const { driver, device } = await booted({ queueSize: 4 });
    const seen: number[] = [];
    device.work = () => {
      const first = device.requests.shift();
      if (first === undefined) return;
      seen.push(first.readable[4] ?? -1);
      device.answer(first, tail(spec.S_OK));
    };

    await Promise.all(driver.submit([1, 2, 3, 4, 5].map(probe)));

    expect(seen).toEqual([1, 2, 3, 4, 5]);
  });

  test('indices go on beyond 65,535', async () => {
    const { driver, device } = await booted({ queueSize: 64 });
    const requests = Array.from({ length: 66_000 }, () => SMALL);

    await Promise.all(driver.submit(requests));

    expect(device.half(device.queue(spec.REQUESTQ).driver + 2n)).toBe(66_000 % 65_536);
  });

  test('a device that wants no notifications gets none', async () => {
    const { driver, device } = await booted();
    const work = device.work;
    device.work = () => {
      device.requests.push(...device.fetch(spec.REQUESTQ));
      work();
    };
    const { device: used } = device.queue(spec.REQUESTQ);
    dmaWrite(device.memory, used, Uint8Array.of(spec.USED_F_NO_NOTIFY, 0));

    const { status } = await driver.attach(1, 2);

    expect(status).toBe(spec.S_OK);
    expect(device.heard).toEqual([]);
  });

  test('a device that never answers is stuck', async () => {
    const { driver, device } = await booted();
    device.work = () => undefined;

    await expect(driver.attach(1, 2)).rejects.toMatchObject({ code: 'stuck' });
  });

  test('one that needs a reset says so', async () => {
    const { driver, device } = await booted();
    device.work = () => void (device.status |= spec.DEVICE_NEEDS_RESET);

    await expect(driver.attach(1, 2)).rejects.toMatchObject({ code: 'needs-reset' });
  });

  test('a used entry that names no buffer is told as what it is', async () => {
    const { driver, device } = await booted();
    device.work = () => device.giveBack(7, 4);

    await expect(driver.attach(1, 2)).rejects.toMatchObject({ code: 'bad-device' });
  });

  test('a transport that fails ends the request', async () => {
    const { driver, device } = await booted();
    device.work = () => {
      throw new Error('the pipe is broken');
    };

    await expect(driver.attach(1, 2)).rejects.toThrow('the pipe is broken');
  });

  test('a reset rejects what is in flight, and the driver works after the next boot', async () => {
    const { driver, device } = await booted();
    const work = device.work;
    device.work = () => undefined;
    const lost = driver.attach(1, 2).catch((error: unknown) => error);

    device.work = work;
    device.requests.splice(0);
    await driver.boot();

    expect(await lost).toMatchObject({ code: 'state' });
    expect((await driver.attach(1, 2)).status).toBe(spec.S_OK);
  });

  test('whatever order and batches answers come in, every request gets its own, and no page is lost', async () => {
    const step = fc.record({ requests: fc.integer({ min: 0, max: 9 }), indirect: fc.boolean() });
    await fc.assert(
      fc.asyncProperty(
        fc.array(step, { maxLength: 12 }),
        fc.infiniteStream(fc.nat(7)),
        async (steps, picks) => {
          const { driver, device, allocator } = await booted({ queueSize: 8 });
          const available = allocator.available;
          device.work = () => {
            const pick = (picks.next().value as number) % Math.max(1, device.requests.length);
            const [buffer] = device.requests.splice(pick, 1);
            if (buffer !== undefined) device.answer(buffer, tail(buffer.readable[4] ?? 0));
          };

          const answers = steps.flatMap(({ requests, indirect }, i) =>
            driver
              .submit(
                Array.from({ length: requests }, () => detach(i)),
                { indirect },
              )
              .map(async (answer) => ({ expected: i, status: (await answer).status })),
          );
          const results = await Promise.all(answers);

          expect(results.filter(({ expected, status }) => expected !== status)).toEqual([]);
          expect(allocator.available).toBe(available);
        },
      ),
    );
  });
});

describe('the event queue', () => {
  const fault = { reason: 2, flags: 0x101, endpoint: 0x108, address: 0x1234_5678_9abcn };

  test('reports are read in their order and only once', async () => {
    const { driver, device } = await booted();
    const [first, second] = device.fetch(spec.EVENTQ);
    device.answer(first as never, spec.encodeFaultReport(fault), 24, spec.EVENTQ);
    device.answer(second as never, spec.encodeFaultReport({ ...fault, endpoint: 3 }), 24, spec.EVENTQ);

    const faults = await driver.faults();

    expect(faults).toEqual([fault, { ...fault, endpoint: 3 }]);
    expect(await driver.faults()).toEqual([]);
  });

  test('buffers that were read go back to the device', async () => {
    const { driver, device } = await booted({ events: { count: 1, bytes: 24 } });
    const [only] = device.fetch(spec.EVENTQ);
    device.answer(only as never, spec.encodeFaultReport(fault), 24, spec.EVENTQ);

    await driver.faults();

    expect(device.heard).toEqual(['notify 1']);
    expect(device.fetch(spec.EVENTQ)).toHaveLength(1);
  });

  test('there are as many buffers as asked for, of that size', async () => {
    const { device } = await booted({ events: { count: 3, bytes: 40 } });

    const lengths = device.fetch(spec.EVENTQ).map(({ descriptors }) => descriptors[0]?.len);

    expect(lengths).toEqual([40, 40, 40]);
  });

  test('without buffers the device is not told of any', async () => {
    const { device, driver } = plainWorld();

    await driver.boot({ events: { count: 0, bytes: 0 } });

    expect(device.fetch(spec.EVENTQ)).toEqual([]);
  });

  test('a report that is too short is none', async () => {
    const { driver, device } = await booted();
    const [first] = device.fetch(spec.EVENTQ);
    device.answer(first as never, spec.encodeFaultReport(fault), 23, spec.EVENTQ);

    expect(await driver.faults()).toEqual([]);
  });
});
