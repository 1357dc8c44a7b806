import { afterEach, describe, expect, test } from 'vitest';
import { ServerRefusedError, UnusableServerError } from '../../../src/vfio-user/client/index.ts';
import type { IncomingCommand } from '../../../src/vfio-user/command.ts';
import { releaseAll } from '../../../src/vfio-user/descriptor.ts';
import {
  Command,
  encodeRegionInfo,
  Errno,
  irqInfoReply,
  type RegionInfo,
  regionInfoRequest,
  regionReadReply,
  regionReadRequest,
  regionWriteReply,
  regionWriteRequest,
  type SetIrqs,
  setIrqsRequest,
} from '../../../src/vfio-user/wire/index.ts';
import { fakeDescriptor, openFakeDescriptors } from '../memory-channel.ts';
import { connected, errorOf, type RigOptions } from './rig.ts';

afterEach(() => {
  expect(openFakeDescriptors()).toBe(0);
});

const BAR: Omit<RegionInfo, 'argsz'> = {
  read: true,
  write: true,
  mmap: true,
  index: 2,
  size: 0x1_0000n,
  offset: 0x8000n,
};

/** A server with one region, described by `info`, that comes with a descriptor each time. */
function describing(info: Omit<RegionInfo, 'argsz'>, asked: number[] = []): RigOptions {
  return {
    answer: (command) => {
      if (command.command !== Command.DEVICE_GET_REGION_INFO) return false;
      const request = regionInfoRequest.decode(command.payload);
      const room = request.ok ? request.value.argsz : 0;
      asked.push(room);
      const descriptor = fakeDescriptor(5);
      command.reply(encodeRegionInfo(info, room), [descriptor]);
      descriptor.release();
      return true;
    },
  };
}

function areas(count: number): { offset: bigint; size: bigint }[] {
  return Array.from({ length: count }, (_, i) => ({ offset: BigInt(i) * 16n, size: 8n }));
}

describe('the description of a region', () => {
  test('comes with its sparse areas and its file', async () => {
    const { client } = await connected(describing({ ...BAR, sparse: areas(2) }));

    const { descriptors, ...info } = await client.regionInfo(2);

    expect(info).toEqual({ ...BAR, sparse: areas(2), argsz: 80 });
    expect(descriptors.map(({ number }) => number)).toEqual([5]);
    releaseAll(descriptors);
  });

  test('is asked for again, with room, when it is large', async () => {
    const asked: number[] = [];
    const { client } = await connected(describing({ ...BAR, sparse: areas(1000) }, asked));

    const { descriptors, sparse } = await client.regionInfo(2);

    expect(sparse).toHaveLength(1000);
    expect(asked).toEqual([1024, 16_048]);
    expect(openFakeDescriptors()).toBe(1);
    releaseAll(descriptors);
  });

  test('is not asked for when it claims to be enormous', async () => {
    const { client } = await connected({
      answer: (command) => {
        if (command.command !== Command.DEVICE_GET_REGION_INFO) return false;
        const payload = encodeRegionInfo({ ...BAR, index: 2 }, 32);
        payload.set([0xff, 0xff, 0xff, 0xff]);
        command.reply(payload);
        return true;
      },
    });

    const error = await errorOf(() => client.regionInfo(2));

    expect(error).toBeInstanceOf(UnusableServerError);
    expect(error.message).toContain('needs 4294967295 bytes to describe region 2');
  });

  test('of another region ends the connection, and leaves no descriptor', async () => {
    const { client } = await connected(describing(BAR));

    const error = await errorOf(() => client.regionInfo(1));

    expect(error.message).toContain('described region 2 when asked for 1');
    expect((await client.closed).kind).toBe('closed-here');
  });

  test('that makes no sense leaves no descriptor', async () => {
    const { client } = await connected({
      answer: (command) => {
        if (command.command !== Command.DEVICE_GET_REGION_INFO) return false;
        const descriptor = fakeDescriptor(5);
        command.reply(Uint8Array.of(1, 2, 3), [descriptor]);
        descriptor.release();
        return true;
      },
    });

    expect(await errorOf(() => client.regionInfo(1))).toBeInstanceOf(UnusableServerError);
  });

  test('that is refused leaves the connection as it is', async () => {
    const { client } = await connected({
      answer: (command) => {
        if (command.command !== Command.DEVICE_GET_REGION_INFO) return false;
        command.fail(Errno.EINVAL);
        return true;
      },
    });

    const error = await errorOf(() => client.regionInfo(99));

    expect(error).toBeInstanceOf(ServerRefusedError);
    expect(error.message).toBe('the server refused the description of region 99 with EINVAL');
    expect(client.barrier()).toBeUndefined();
  });
});

describe('the description of an interrupt type', () => {
  const info = { index: 2, count: 4, eventfd: true, maskable: false, automasked: false, noresize: true };
  const options: RigOptions = {
    answer: (command) => {
      if (command.command !== Command.DEVICE_GET_IRQ_INFO) return false;
      command.reply(irqInfoReply.encode(info));
      return true;
    },
  };

  test('comes as the server says', async () => {
    const { client } = await connected(options);

    expect(await client.irqInfo(2)).toEqual(info);
  });

  test('of another type ends the connection', async () => {
    const { client } = await connected(options);

    expect((await errorOf(() => client.irqInfo(1))).message).toContain('described interrupt type 2');
  });
});

/** A server with one region of memory, and the accesses to it. */
function memory(bytes: Uint8Array, accesses: [number, number][]): (command: IncomingCommand) => boolean {
  return (command) => {
    if (command.command === Command.REGION_READ) {
      const decoded = regionReadRequest.decode(command.payload);
      if (!decoded.ok) return false;
      const { offset, count } = decoded.value;
      accesses.push([Number(offset), count]);
      const data = bytes.slice(Number(offset), Number(offset) + count);
      command.reply(regionReadReply.encode({ ...decoded.value, data }));
      return true;
    }
    if (command.command === Command.REGION_WRITE) {
      const decoded = regionWriteRequest.decode(command.payload);
      if (!decoded.ok) return false;
      const { offset, region, count, data } = decoded.value;
      accesses.push([Number(offset), count]);
      bytes.set(data, Number(offset));
      command.reply(regionWriteReply.encode({ offset, region, count }));
      return true;
    }
    return false;
  };
}

describe('reads and writes', () => {
  test('of more than one message are split', async () => {
    const bytes = new Uint8Array(300).map((_, i) => i);
    const accesses: [number, number][] = [];
    const { client } = await connected({
      capabilities: { maxDataXferSize: 100 },
      answer: memory(bytes, accesses),
    });

    const data = await client.readRegion(7, 10n, 250);
    await client.writeRegion(
      7,
      200n,
      Uint8Array.from({ length: 100 }, () => 9),
    );
    await client.writeRegion(
      7,
      0n,
      Uint8Array.from({ length: 101 }, () => 8),
    );

    expect(data).toEqual(Uint8Array.from({ length: 250 }, (_, i) => i + 10));
    expect(bytes.slice(98, 103)).toEqual(Uint8Array.of(8, 8, 8, 101, 102));
    expect(accesses).toEqual([
      [10, 100],
      [110, 100],
      [210, 50],
      [200, 100],
      [0, 100],
      [100, 1],
    ]);
  });

  test('are not larger than this side takes', async () => {
    const accesses: [number, number][] = [];
    const { client } = await connected({
      capabilities: { maxDataXferSize: 0x400_0000 },
      answer: memory(new Uint8Array(0x20_0000), accesses),
    });

    await client.readRegion(0, 0n, 0x20_0000);

    expect(accesses).toEqual([
      [0, 0x10_0000],
      [0x10_0000, 0x10_0000],
    ]);
  });

  test('of nothing send nothing', async () => {
    const accesses: [number, number][] = [];
    const { client } = await connected({ answer: memory(new Uint8Array(1), accesses) });

    expect(await client.readRegion(0, 0n, 0)).toEqual(new Uint8Array(0));
    await client.writeRegion(0, 0n, new Uint8Array(0));
    expect(accesses).toEqual([]);
  });

  test('that are answered in part end the connection', async () => {
    const { client } = await connected({
      answer: (command) => {
        if (command.command !== Command.REGION_READ) return false;
        command.reply(regionReadReply.encode({ offset: 0n, region: 0, count: 2, data: new Uint8Array(2) }));
        return true;
      },
    });

    const error = await errorOf(() => client.readRegion(0, 0n, 4));

    expect(error.message).toContain('did 2 bytes of a read of 4 bytes at 0x0 of region 0');
  });

  test('that are refused say where', async () => {
    const { client } = await connected({
      answer: (command) => {
        if (command.command !== Command.REGION_WRITE) return false;
        command.fail(Errno.EPERM);
        return true;
      },
    });

    expect((await errorOf(() => client.writeRegion(1, 0x40n, new Uint8Array(4)))).message).toBe(
      'the server refused a write of 4 bytes at 0x40 of region 1 with EPERM',
    );
  });
});

/** A server that takes interrupts, and what it was told with the numbers of the eventfds. */
function interrupts(told: [SetIrqs, number[]][], maxMsgFds = 16): RigOptions {
  return {
    capabilities: { maxMsgFds },
    answer: (command) => {
      if (command.command !== Command.DEVICE_SET_IRQS) return false;
      const decoded = setIrqsRequest.decode(command.payload);
      if (!decoded.ok) return false;
      told.push([decoded.value, command.descriptors.map(({ number }) => number)]);
      releaseAll(command.descriptors);
      command.reply();
      return true;
    },
  };
}

const MSIX = { index: 2, start: 0, action: 'trigger', data: 'eventfd' } as const;

describe('interrupts', () => {
  test('are set up by eventfds, no more in a message than the server takes', async () => {
    const told: [SetIrqs, number[]][] = [];
    const { client } = await connected(interrupts(told, 2));
    const eventfds = [1, 2, 3, 4, 5].map((number) => fakeDescriptor(number));

    await client.setIrqs({ ...MSIX, count: 5 }, eventfds);
    releaseAll(eventfds);

    expect(told).toEqual([
      [{ ...MSIX, start: 0, count: 2 }, [1, 2]],
      [{ ...MSIX, start: 2, count: 2 }, [3, 4]],
      [{ ...MSIX, start: 4, count: 1 }, [5]],
    ]);
  });

  test('without an eventfd are let go in messages of their own', async () => {
    const told: [SetIrqs, number[]][] = [];
    const { client } = await connected(interrupts(told));
    const eventfd = fakeDescriptor(1);

    await client.setIrqs({ ...MSIX, start: 1, count: 4 }, [undefined, undefined, eventfd, undefined]);
    eventfd.release();

    expect(told).toEqual([
      [{ ...MSIX, start: 1, count: 2 }, []],
      [{ ...MSIX, start: 3, count: 1 }, [1]],
      [{ ...MSIX, start: 4, count: 1 }, []],
    ]);
  });

  test.each<SetIrqs>([
    { index: 2, start: 0, count: 0, action: 'trigger', data: 'none' },
    { index: 0, start: 0, count: 1, action: 'unmask', data: 'none' },
    { index: 1, start: 2, count: 3, action: 'mask', data: [true, false, true] },
    { ...MSIX, count: 3 },
  ])('can be told %j without eventfds', async (irqs) => {
    const told: [SetIrqs, number[]][] = [];
    const { client } = await connected(interrupts(told));

    await client.setIrqs(irqs);

    expect(told).toEqual([[irqs, []]]);
  });

  test('need a connection that passes descriptors', async () => {
    const { client } = await connected({ ...interrupts([]), pair: { descriptors: false } });
    const eventfd = fakeDescriptor(1);

    const error = await errorOf(() => client.setIrqs({ ...MSIX, count: 1 }, [eventfd]));
    eventfd.release();

    expect(error.message).toContain('connect by a UNIX socket that passes descriptors');
  });

  test('need one eventfd each', async () => {
    const { client } = await connected(interrupts([]));

    expect(await errorOf(() => client.setIrqs({ ...MSIX, count: 2 }, [undefined]))).toBeInstanceOf(
      RangeError,
    );
  });
});

test('a reset is one request', async () => {
  const { client, server } = await connected();

  await client.reset();

  expect(server.commands).toEqual(['VERSION', 'DEVICE_GET_INFO', 'DEVICE_RESET']);
});
