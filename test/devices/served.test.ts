import { describe, expect, test, vi } from 'vitest';
import { adder } from '../../examples/device.ts';
import { EDU_BUFFER_START, eduDevice, EduRegister, probeDevice } from '../../src/devices/index.ts';
import { Descriptor, IrqIndex } from '../../src/vfio-user/index.ts';
import { IOVA, served, type ServedRig } from './served-rig.ts';

const MODES = [
  ['shared memory', true],
  ['messages', false],
] as const;

/** Programs a transfer of edu, and polls its command register as a driver does. */
async function transfer(
  rig: ServedRig,
  source: bigint,
  destination: bigint,
  count: bigint,
  command: bigint,
): Promise<bigint> {
  await rig.write8(EduRegister.DmaSource, source);
  await rig.write8(EduRegister.DmaDestination, destination);
  await rig.write8(EduRegister.DmaCount, count);
  await rig.write8(EduRegister.DmaCommand, command);
  while (((await rig.read8(EduRegister.DmaCommand)) & 1n) !== 0n);
  return rig.read8(EduRegister.DmaError);
}

describe.each(MODES)('edu behind a server, by %s', (_mode, shared) => {
  test('copies from memory and back, at an address beyond 32 bits', async () => {
    const rig = await served(eduDevice(), shared);
    rig.page(3).set([1, 2], 4094);
    rig.page(4).set([3, 4]);

    const into = await transfer(rig, IOVA + 0x3ffen, EDU_BUFFER_START, 4n, 1n);
    const back = await transfer(rig, EDU_BUFFER_START, IOVA + 0x9000n, 4n, 3n);

    expect([into, back]).toEqual([0n, 0n]);
    expect([...rig.page(9).subarray(0, 5)]).toEqual([1, 2, 3, 4, 0]);
    expect(rig.files.openFiles).toBe(shared ? 1 : 0);
    await rig.close();
  });

  test('an address that is not mapped fails with EFAULT, and the next transfer goes', async () => {
    const rig = await served(eduDevice(), shared);

    const failed = await transfer(rig, 0x1000n, EDU_BUFFER_START, 4n, 1n);

    expect(failed).toBe(14n);
    expect(await transfer(rig, IOVA, EDU_BUFFER_START, 4n, 1n)).toBe(0n);
    await rig.close();
  });

  test('after the unmap nothing is reached any more', async () => {
    const rig = await served(eduDevice(), shared);

    rig.client.unmap(Number(IOVA >> 12n), 16);
    await rig.client.barrier();

    expect(await transfer(rig, IOVA, EDU_BUFFER_START, 4n, 1n)).toBe(14n);
    await rig.close();
  });

  test('rings MSI when the transfer has ended', async () => {
    const rig = await served(eduDevice(), shared);
    const eventfd = new Descriptor(77, () => {});
    const wire = { index: IrqIndex.MSI, start: 0, count: 1, action: 'trigger', data: 'eventfd' } as const;
    await rig.client.setIrqs(wire, [eventfd]);

    await transfer(rig, IOVA, EDU_BUFFER_START, 4n, 5n);

    expect(rig.rung).toEqual([77]);
    await rig.close();
  });
});

test('the probe is a PCI function with one BAR and MSI-X', async () => {
  const rig = await served(probeDevice(), true);

  const config = await rig.client.readRegion(7, 0n, 64);
  const { size } = await rig.client.regionInfo(0);

  expect([...config.subarray(0, 4)]).toEqual([0xf4, 0x1a, 0xf0, 0x10]);
  expect(size).toBe(4096n);
  expect((await rig.client.irqInfo(IrqIndex.MSI)).count).toBe(1);
  await rig.close();
});

describe.each(MODES)('examples/device.ts by %s', (_mode, shared) => {
  const [ADDRESS, COUNT, STATE, SUM] = [0x00, 0x08, 0x10, 0x18];

  test('adds up bytes of memory and interrupts', async () => {
    const rig = await served(adder(), shared);
    rig.page(1).fill(2);
    rig.page(2).fill(1, 0, 100);
    const wire = { index: IrqIndex.MSI, start: 0, count: 1, action: 'trigger', data: 'eventfd' } as const;
    await rig.client.setIrqs(wire, [new Descriptor(5, () => {})]);

    await rig.write8(ADDRESS, IOVA);
    await rig.write8(COUNT, 3n * 4096n);
    while ((await rig.read8(STATE)) === 1n);

    expect(await rig.read8(STATE)).toBe(0n);
    expect(await rig.read8(SUM)).toBe(2n * 4096n + 100n);
    expect(rig.rung).toEqual([5]);
    await rig.close();
  });
});

test('examples/device.ts tells a driver of memory that cannot be read', async () => {
  const said = vi.spyOn(console, 'error').mockImplementation(() => {});
  const rig = await served(adder(), true);

  await rig.write8(0x00, 0x1000n);
  await rig.write8(0x08, 1n);
  while ((await rig.read8(0x10)) === 1n);

  expect(await rig.read8(0x10)).toBe(2n);
  expect(said).toHaveBeenCalledExactlyOnceWith(
    'DmaError: DMA read at 0x1000: EFAULT: the client has mapped nothing there',
  );
  said.mockRestore();
  await rig.close();
});
