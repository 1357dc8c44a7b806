import { describe, expect, it } from 'vitest';
import { DenseRamBlock } from '../../../src/memory/index.ts';
import { type PciDevice, VfioUserServer } from '../../../src/vfio-user/server/index.ts';
import { Command, Errno } from '../../../src/vfio-user/wire/index.ts';
import type { RawClient } from './raw-client.ts';
import { buildWorld, plainBar } from './world.ts';

const CONFIG = 7;

async function get(client: RawClient, offset: number, count: 1 | 2 | 4): Promise<number> {
  const data = (await client.read(CONFIG, offset, count)) as Uint8Array;
  return data.reduceRight((value, byte) => value * 256 + byte, 0);
}

function put(client: RawClient, offset: number, count: 1 | 2 | 4, value: number): Promise<number> {
  const data = Uint8Array.from({ length: count }, (_, i) => Math.floor(value / 256 ** i) % 256);
  return client.write(CONFIG, offset, data);
}

describe('configuration space', () => {
  it('has the identity of the device', async () => {
    const client = await buildWorld({
      vendorId: 0x1b36,
      deviceId: 0x0010,
      classCode: 0x010802,
      revision: 3,
      subsystemVendorId: 0x1af4,
      subsystemId: 0x1100,
      intx: true,
    }).client();

    expect(await get(client, 0x00, 4)).toBe(0x00101b36);
    expect(await get(client, 0x08, 4)).toBe(0x01080203);
    expect(await get(client, 0x0e, 1)).toBe(0);
    expect(await get(client, 0x2c, 4)).toBe(0x11001af4);
    expect(await get(client, 0x3d, 1)).toBe(1);
  });

  it('is read as a whole, as VMMs do first', async () => {
    const client = await buildWorld().client();

    expect(await client.read(CONFIG, 0, 256)).toHaveLength(256);
    expect(await client.read(CONFIG, 0, 257)).toBe(Errno.EINVAL);
  });

  it('is 4 KiB for a PCI Express function', async () => {
    const express = { id: 0x10, bytes: Uint8Array.of(2, 0) };
    const client = await buildWorld({ capabilities: [express] }).client();

    expect(await client.read(CONFIG, 0, 4096)).toHaveLength(4096);
  });

  it.each([
    ['32-bit memory', { ...plainBar(0x10000), kind: 'memory32' as const }, 0, 0xffff0000],
    ['prefetchable memory', { ...plainBar(0x10000), prefetchable: true }, 8, 0xffff0008],
    ['ports', { ...plainBar(32), kind: 'io' as const }, 1, 0xffffffe1],
  ])('tells the size of a BAR of %s', async (_what, bar, initial, sized) => {
    const client = await buildWorld({ bars: [undefined, bar] }).client();
    expect(await get(client, 0x14, 4)).toBe(initial);

    await put(client, 0x14, 4, 0xffffffff);

    expect(await get(client, 0x14, 4)).toBe(sized);
  });

  it('tells the size of a 64-bit BAR in two halves', async () => {
    const size = 2 ** 33;
    const bar = { size, kind: 'memory64' as const, read: () => undefined, write: () => undefined };
    const client = await buildWorld({ bars: [bar] }).client();

    await put(client, 0x10, 4, 0xffffffff);
    await put(client, 0x14, 4, 0xffffffff);

    expect(await get(client, 0x10, 4)).toBe(0x00000004);
    expect(await get(client, 0x14, 4)).toBe(0xfffffffe);
  });

  it('keeps an address that is written byte by byte', async () => {
    const client = await buildWorld({ bars: [plainBar(4096)] }).client();

    for (const [i, byte] of [0x34, 0x12, 0xbe, 0xfe].entries()) await put(client, 0x10 + i, 1, byte);

    expect(await get(client, 0x10, 4)).toBe(0xfebe1000);
  });

  it('lets the command register have the bits that mean something', async () => {
    const client = await buildWorld({ bars: [plainBar(4096)] }).client();

    await put(client, 0x04, 2, 0xffff);

    expect(await get(client, 0x04, 2)).toBe(0x0546);
  });

  it('has no writable identity', async () => {
    const client = await buildWorld().client();

    await put(client, 0x00, 4, 0);

    expect(await get(client, 0x00, 4)).toBe(0x56781234);
  });

  it('has a list of capabilities that ends', async () => {
    const client = await buildWorld({
      bars: [plainBar(0x4000)],
      capabilities: [{ id: 0x09, bytes: Uint8Array.of(5, 0xaa, 0xbb), writable: Uint8Array.of(0, 0, 0xf0) }],
      msi: { vectors: 4 },
      msix: { vectors: 3, bar: 0, tableOffset: 0x2000, pbaOffset: 0x3000 },
    }).client();

    expect((await get(client, 0x06, 2)) & 0x10).toBe(0x10);
    expect(await get(client, 0x34, 1)).toBe(0x40);
    expect(await get(client, 0x40, 4)).toBe(0xaa_05_48_09);
    expect(await get(client, 0x48, 4)).toBe(0x0084_58_05);
    expect(await get(client, 0x58, 4)).toBe(0x0002_00_11);
    expect(await get(client, 0x5c, 4)).toBe(0x2000);
    expect(await get(client, 0x60, 4)).toBe(0x3000);
  });

  it('lets a capability have the bits that its masks allow', async () => {
    const capability = { id: 0x09, bytes: Uint8Array.of(5, 0xaa, 0xbb), writable: Uint8Array.of(0, 0, 0xf0) };
    const client = await buildWorld({ capabilities: [capability] }).client();

    await put(client, 0x42, 1, 0);
    await put(client, 0x44, 1, 0);

    expect(await get(client, 0x40, 4)).toBe(0xaa_05_00_09);
    expect(await get(client, 0x44, 1)).toBe(0x0b);
  });

  it('is as after power-on when the device is reset', async () => {
    const client = await buildWorld({ bars: [plainBar(4096)], msi: { vectors: 1 } }).client();
    const before = await client.read(CONFIG, 0, 256);
    await put(client, 0x04, 2, 0x0006);
    await put(client, 0x10, 4, 0xfebe0000);
    await put(client, 0x42, 2, 1);
    expect(await client.read(CONFIG, 0, 256)).not.toEqual(before);

    await client.ask(Command.DEVICE_RESET);

    expect(await client.read(CONFIG, 0, 256)).toEqual(before);
  });
});

describe('a device that cannot be', () => {
  const fine: PciDevice = { name: 'odd', vendorId: 1, deviceId: 2, classCode: 3 };
  const handlers = { read: () => undefined, write: () => undefined };

  it.each<[string, Partial<PciDevice>, RegExp]>([
    ['a vendor of 17 bits', { vendorId: 0x1_0000 }, /vendorId is 65536; it is a number of 16 bits/],
    ['seven BARs', { bars: Array.from({ length: 7 }, () => undefined) }, /six at most/],
    ['a BAR of 3,000 bytes', { bars: [{ ...handlers, kind: 'memory32', size: 3000 }] }, /power of two/],
    [
      'a BAR of 4 GiB in 32 bits',
      { bars: [{ ...handlers, kind: 'memory32', size: 2 ** 32 }] },
      /power of two/,
    ],
    [
      'masks for other bytes than a capability has',
      { capabilities: [{ id: 9, bytes: new Uint8Array(4), writable: new Uint8Array(3) }] },
      /has 4 bytes and masks for 3/,
    ],
    [
      'a BAR of ports in memory',
      { bars: [{ kind: 'io', size: 4096, memory: { ram: new DenseRamBlock(1) } }] },
      /give it whole pages and no io/,
    ],
    [
      'a BAR longer than its memory',
      { bars: [{ kind: 'memory32', size: 8192, memory: { ram: new DenseRamBlock(1) } }] },
      /its memory has fewer/,
    ],
    [
      'an area of half a page',
      {
        bars: [
          {
            kind: 'memory32',
            size: 4096,
            memory: { ram: new DenseRamBlock(1), areas: [{ offset: 0n, size: 2048n }] },
          },
        ],
      },
      /areas are whole pages inside the BAR/,
    ],
    ['0 MSI-X vectors', { msix: { vectors: 0, bar: 0, tableOffset: 0, pbaOffset: 64 } }, /1 to 2048/],
    [
      'a BAR in the upper half of another',
      { bars: [plainBar(4096, 'memory64'), plainBar(4096)] },
      /takes number 1 too/,
    ],
    ['three MSI vectors', { msi: { vectors: 3 } }, /3 MSI vectors/],
    [
      'MSI-X without its BAR',
      { msix: { vectors: 1, bar: 0, tableOffset: 0, pbaOffset: 64 } },
      /must be a memory BAR with handlers/,
    ],
    [
      'MSI-X beyond the end of its BAR',
      { bars: [plainBar(4096)], msix: { vectors: 256, bar: 0, tableOffset: 8, pbaOffset: 0 } },
      /within 4096 bytes/,
    ],
    [
      'MSI-X pending bits in the table',
      { bars: [plainBar(4096)], msix: { vectors: 2, bar: 0, tableOffset: 0, pbaOffset: 24 } },
      /overlap/,
    ],
    [
      'more capabilities than fit',
      { capabilities: [{ id: 9, bytes: new Uint8Array(200) }] },
      /beyond the first 256 bytes/,
    ],
  ])('is refused: %s', (_what, part, message) => {
    expect(() => new VfioUserServer({ device: { ...fine, ...part } })).toThrow(message);
  });

  it.each([
    [{ maxFiles: 0 }, /maxFiles is 0/],
    [{ maxDataXferSize: 100 }, /4096 to 67108864 are possible/],
    [{ maxMsgFds: 17 }, /clients accept 16 at the most/],
  ])('or a limit that cannot be, is refused: %j', (limits, message) => {
    expect(() => new VfioUserServer({ device: fine, limits })).toThrow(message);
  });
});
