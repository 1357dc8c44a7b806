/** Real DMA of a device of ours, through QEMU's vIOMMU as the guest programmed it. @module */
import { expect, test } from 'vitest';
import { EDU_IDENTIFICATION, eduDevice, EduInterrupt, EduRegister } from '../../src/devices/index.ts';
import { Access } from '../../src/memory/index.ts';
import { EduGuest } from './harness/edu-guest.ts';
import { eventually } from './harness/eventually.ts';
import { describeQemu } from './harness/find-qemu.ts';
import { HIGH } from '../../src/qemu/index.ts';
import { ProxyInFront } from './harness/proxied.ts';
import { SLOTS } from './harness/qemu-machine.ts';
import { Sink } from './harness/sink.ts';
import { machineWithDomain } from './harness/world.ts';

const EFAULT = 14;
const EACCES = 13;

/** Where the guest maps pages, and where they are. */
const IOVA = 0x1000;
const PLACE = BigInt(HIGH) << 12n;
const at = (page: number, offset = 0): bigint => (BigInt(page) << 12n) + BigInt(offset);

const TEXT = new TextEncoder().encode('written by the guest, read by the device');

const WAYS = [
  { memory: 'descriptors', slot: 'express', through: 'no proxy' },
  { memory: 'messages', slot: 'express', through: 'no proxy' },
  { memory: 'descriptors', slot: 'conventional', through: 'no proxy' },
  { memory: 'messages', slot: 'conventional', through: 'no proxy' },
  { memory: 'descriptors', slot: 'express', through: 'the proxy' },
  { memory: 'messages', slot: 'express', through: 'the proxy' },
] as const;

describeQemu.each(WAYS)(
  'edu with $memory in the $slot slot, through $through',
  ({ memory, slot, through }) => {
    /** Four pages are mapped, the last for reading only; the device is plugged and enabled. */
    async function enabled() {
      const { machine, domain } = await machineWithDomain();
      const { driver } = machine;
      if (slot === 'conventional') await driver.attachDevice(SLOTS[slot].requester, domain);
      await driver.map(domain, IOVA, 3, HIGH, Access.ReadWrite, { leafPages: 1 });
      await driver.map(domain, IOVA + 3, 1, HIGH + 3, Access.Read);
      const sink = await Sink.serve({ device: eduDevice(), memory });
      const socket = through === 'the proxy' ? (await ProxyInFront.of(sink)).socket : sink.socket;
      await machine.plug(socket, { slot });
      return { machine, domain, sink, edu: await EduGuest.enable(machine, slot), qtest: machine.qemu.qtest };
    }

    test('the guest sees its registers', async () => {
      const { edu } = await enabled();

      await edu.write(EduRegister.Liveness, 0x1234_5678n);

      expect(await edu.read(EduRegister.Identification)).toBe(BigInt(EDU_IDENTIFICATION));
      expect(await edu.read(EduRegister.Liveness)).toBe(0xedcb_a987n);
    });

    test('it copies guest memory in and out, over a page boundary', async () => {
      const { edu, qtest } = await enabled();
      await qtest.writeBytes(PLACE + 100n, TEXT);

      const read = await edu.fromMemory(at(IOVA, 100), TEXT.length);
      const written = await edu.toMemory(at(IOVA + 2, -8), TEXT.length);

      expect({ read, written }).toEqual({ read: 0, written: 0 });
      expect(await qtest.readBytes(PLACE + 0x2000n - 8n, TEXT.length)).toEqual(TEXT);
    });

    test('an address that is not mapped, and one that may only be read: an error, and nothing is written', async () => {
      const { edu, qtest } = await enabled();
      await qtest.writeBytes(PLACE + 0x3000n, TEXT);
      await edu.fromMemory(at(IOVA), 64);

      const errors = [
        await edu.fromMemory(at(0x9000), 64),
        await edu.toMemory(at(0x9000), 64),
        await edu.toMemory(at(IOVA + 3), 64),
      ];

      expect(errors).toEqual([EFAULT, EFAULT, EACCES]);
      expect(await qtest.readBytes(PLACE + 0x3000n, TEXT.length)).toEqual(TEXT);
      expect(await edu.fromMemory(at(IOVA + 3), 64)).toBe(0);
    });

    test('what the guest has unmapped cannot be reached any more', async () => {
      const { machine, domain, edu } = await enabled();
      const before = await edu.toMemory(at(IOVA), 64);

      await machine.driver.unmap(domain, IOVA, 1);

      expect(before).toBe(0);
      expect(await edu.toMemory(at(IOVA), 64)).toBe(EFAULT);
      expect(await edu.toMemory(at(IOVA + 1), 64)).toBe(0);
    });

    test('what the guest has remapped goes to the new place', async () => {
      const { machine, domain, edu, qtest } = await enabled();
      await qtest.writeBytes(PLACE, TEXT);
      await edu.fromMemory(at(IOVA), TEXT.length);

      await machine.driver.remap(domain, IOVA + 1, 1, Access.ReadWrite, HIGH + 0x77);

      expect(await edu.toMemory(at(IOVA + 1), TEXT.length)).toBe(0);
      expect(await qtest.readBytes(PLACE + 0x7_7000n, TEXT.length)).toEqual(TEXT);
      expect(await qtest.readBytes(PLACE + 0x1000n, 8)).toEqual(new Uint8Array(8));
    });

    /** An MSI is a write to memory. Given the address of a mapped page it can be seen there, as QEMU sent it. */
    test('its interrupt arrives', async () => {
      const { edu, qtest } = await enabled();
      await edu.enableMsi(Number(at(IOVA + 2, 0x10)), 0x4321);

      await edu.write(EduRegister.InterruptRaise, BigInt(EduInterrupt.Dma));

      await eventually(() => qtest.read(PLACE + 0x2010n, 4)).toBe(0x4321n);
      expect(await edu.read(EduRegister.InterruptStatus)).toBe(BigInt(EduInterrupt.Dma));
    });
  },
);

describeQemu('edu while translation is off', () => {
  test.each(['descriptors', 'messages'] as const)('it reaches RAM one to one (%s)', async (memory) => {
    const { machine } = await machineWithDomain();
    const sink = await Sink.serve({ device: eduDevice(), memory });
    await machine.plug(sink.socket);
    const edu = await EduGuest.enable(machine);
    await machine.qemu.qtest.writeBytes(0x1_2345_6000n, TEXT);
    await machine.driver.setTranslation(false);

    const errors = [
      await edu.fromMemory(0x1_2345_6000n, TEXT.length),
      await edu.toMemory(0x30_0000n, TEXT.length),
    ];

    expect(errors).toEqual([0, 0]);
    expect(await machine.qemu.qtest.readBytes(0x30_0000n, TEXT.length)).toEqual(TEXT);
  });
});
