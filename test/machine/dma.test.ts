/** DMA of a plugged device through the emulated IOMMU, and where it would end through the host: the same place. @module */
import { describe, expect, test } from 'vitest';
import {
  Access,
  addressOf,
  dmaRead,
  dmaWrite,
  type DmaResult,
  PageCursor,
  pageOf,
} from '../../src/memory/index.ts';
import { RecordingHost } from '../scenarios/recording-host.ts';
import { HIGH, type Mode, NIC, ScenarioMachine } from '../scenarios/scenario-machine.ts';

const MODES: readonly Mode[] = ['legacy', 'scalable'];

/** Pages of every access, of every size, split around the interrupt range, and leading nowhere. */
async function plugged(mode: Mode) {
  const machine = new ScenarioMachine({ mode });
  const { driver } = machine;
  const domain = machine.nicDomain();
  await driver.map(domain, 0x400, 1, HIGH + 0x10, Access.Read);
  await driver.map(domain, 0x401, 1, HIGH + 0x30, Access.Write);
  await driver.map(domain, 0x402, 1, HIGH + 0x20, Access.ReadWrite);
  await driver.map(domain, 0x600, 0x200, HIGH + 0x200, Access.ReadWrite, { leafPages: 0x200 });
  await driver.map(domain, 0xc_0000, 0x4_0000, HIGH, Access.ReadWrite, { leafPages: 0x4_0000 });
  await driver.map(domain, 0x500, 1, 0x9_0000, Access.ReadWrite);
  const host = new RecordingHost({ strictness: 'type1' });
  const device = await machine.machine.plug(machine.nicPlace, host);
  return { machine, driver, domain, host, device, space: machine.iommu.addressSpace(NIC) };
}

/** The byte at a guest-physical address. */
function byteAt(machine: ScenarioMachine, gpa: bigint): number | undefined {
  const cursor = new PageCursor();
  if (!machine.guest.memory.locate(pageOf(gpa), cursor)) return undefined;
  return cursor.bytes()[Number(gpa & 0xfffn)];
}

function setByte(machine: ScenarioMachine, gpa: bigint, value: number): void {
  const cursor = new PageCursor();
  machine.guest.memory.locate(pageOf(gpa), cursor, true);
  cursor.bytes()[Number(gpa & 0xfffn)] = value;
}

function outcome({ completed, failure }: DmaResult): string {
  return failure === undefined ? `${completed}` : `${completed}, then ${failure.kind}`;
}

describe.each(MODES)('DMA of a plugged device (%s mode)', (mode) => {
  test.each([
    { iova: 0x40_0123n, what: 'a read-only page', read: true, write: false },
    { iova: 0x40_1fffn, what: 'a write-only page', read: false, write: true },
    { iova: 0x40_2000n, what: 'a page', read: true, write: true },
    { iova: 0x60_0000n, what: 'the first byte of a 2 MiB leaf', read: true, write: true },
    { iova: 0x7f_ffffn, what: 'the last byte of a 2 MiB leaf', read: true, write: true },
    { iova: 0xfedf_ffffn, what: 'a 1 GiB leaf, just below the interrupt range', read: true, write: true },
    { iova: 0xfef0_0000n, what: 'a 1 GiB leaf, just above the interrupt range', read: true, write: true },
    { iova: 0xffff_ffffn, what: 'the last byte of a 1 GiB leaf', read: true, write: true },
    { iova: 0x40_3000n, what: 'a page that is not mapped', read: false, write: false },
    { iova: 0x50_0000n, what: 'a page that leads to no RAM', read: false, write: false },
    { iova: 0xfee0_0000n, what: 'the interrupt range', read: false, write: false },
  ])('to $what ends where the host leads it', async ({ iova, read, write }) => {
    const { machine, host, space } = await plugged(mode);
    const through = host.translate(iova);
    if (through !== undefined) setByte(machine, through.gpa, 0x5a);

    const data = new Uint8Array(1);
    const reading = dmaRead(space, iova, data);
    const writing = dmaWrite(space, iova, new Uint8Array([0xa5]));

    expect(through?.access ?? Access.None).toBe((read ? Access.Read : 0) | (write ? Access.Write : 0));
    expect({ read: reading.failure === undefined, write: writing.failure === undefined }).toEqual({
      read,
      write,
    });
    expect(data[0]).toBe(read ? 0x5a : 0);
    const now = through === undefined ? undefined : byteAt(machine, through.gpa);
    expect(now).toBe(through === undefined ? undefined : write ? 0xa5 : 0x5a);
  });

  test('and the host name the same memory for every page that is mapped', async () => {
    const { host, space, machine } = await plugged(mode);
    const pages = [...host.mappings()].flatMap(({ iova, pages }) => [
      iova,
      iova + (pages >>> 1),
      iova + pages - 1,
    ]);
    const { region } = machine.iommu.requesterSpace(NIC);

    const byHost = pages.map((page) => host.translate(addressOf(page))?.gpa);
    const byIommu = pages.map((page) => {
      const { iova, target } = region.translatePage(page, Access.None, 0);
      return addressOf(target + (page - iova));
    });

    expect(pages).toHaveLength(18);
    expect(byHost).toEqual(byIommu);
    expect(outcome(dmaRead(space, 0xfef0_0000n, new Uint8Array(1)))).toBe('1');
  });

  test('goes page by page, and says how far it came', async () => {
    const { machine, space } = await plugged(mode);
    setByte(machine, addressOf(HIGH + 0x10) + 0xfffn, 1);

    const data = new Uint8Array(3);
    const reading = dmaRead(space, 0x40_0fffn, data);
    const writing = dmaWrite(space, 0x40_2fffn, new Uint8Array([7, 8, 9]));

    expect(outcome(reading)).toBe('1, then translation');
    expect([...data]).toEqual([1, 0, 0]);
    expect(reading.failure?.address).toBe(0x40_1000n);
    expect(outcome(writing)).toBe('1, then translation');
    expect(byteAt(machine, addressOf(HIGH + 0x20) + 0xfffn)).toBe(7);
  });

  test('follows an unmap and a map, although it had been translated before', async () => {
    const { machine, driver, domain, host, space } = await plugged(mode);
    dmaWrite(space, 0x40_2000n, new Uint8Array([1]));

    await driver.unmap(domain, 0x402, 1);
    const between = outcome(dmaWrite(space, 0x40_2000n, new Uint8Array([2])));
    const hostBetween = host.translate(0x40_2000n);
    await driver.map(domain, 0x402, 1, HIGH + 0x40, Access.ReadWrite);
    dmaWrite(space, 0x40_2000n, new Uint8Array([3]));

    expect(between).toBe('0, then translation');
    expect(hostBetween).toBeUndefined();
    expect(byteAt(machine, addressOf(HIGH + 0x20))).toBe(1);
    expect(byteAt(machine, addressOf(HIGH + 0x40))).toBe(3);
    expect(host.translate(0x40_2000n)?.gpa).toBe(addressOf(HIGH + 0x40));
  });

  test('sees memory itself while translation is off', async () => {
    const { machine, driver, host, space } = await plugged(mode);

    await driver.setTranslation(false);
    dmaWrite(space, 0x40_0000n, new Uint8Array([0x77]));

    expect(host.translate(0x40_0000n)?.gpa).toBe(0x40_0000n);
    expect(byteAt(machine, 0x40_0000n)).toBe(0x77);
    expect(outcome(dmaRead(space, 0x9000_0000n, new Uint8Array(1)))).toBe('0, then hole');
  });

  test('of a function that passes through sees memory itself', async () => {
    const { machine, driver, host, space } = await plugged(mode);

    await driver.switchDomain(NIC, driver.passThroughDomain());
    dmaWrite(space, 0x40_0000n, new Uint8Array([0x66]));

    expect(host.translate(0x40_0000n)?.gpa).toBe(0x40_0000n);
    expect(byteAt(machine, 0x40_0000n)).toBe(0x66);
  });

  test('of a function without tables ends in a fault, and its host is empty', async () => {
    const { driver, host, space } = await plugged(mode);

    await driver.detachDevice(NIC);

    expect(host.size).toBe(0);
    expect(outcome(dmaRead(space, 0x40_0000n, new Uint8Array(1)))).toBe('0, then translation');
  });
});
