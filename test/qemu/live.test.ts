/** The guest changes the tables of a device of ours that is plugged into QEMU: the ledger follows. @module */
import { expect, test } from 'vitest';
import type { GuestDomain } from '../../src/guests/index.ts';
import { Access } from '../../src/memory/index.ts';
import { type Change, changesIn } from './harness/changes.ts';
import { letQemuLook, MIB2 } from './harness/edits.ts';
import { describeQemu } from './harness/find-qemu.ts';
import { HIGH, RAM_UNTRANSLATED } from '../../src/qemu/index.ts';
import { type QemuMachine, SLOTS } from './harness/qemu-machine.ts';
import { Sink } from './harness/sink.ts';
import { machineWithDomain, MODES } from './harness/world.ts';

describeQemu.each(MODES)('a plugged device, after each change (%s)', (mode) => {
  async function plugged(before?: Change['before'], switches = false) {
    const { machine, domain } = await machineWithDomain({ mode });
    const sink = await Sink.serve();
    await before?.(machine, domain);
    await machine.plug(sink.socket);
    if (switches) await letQemuLook(machine, mode);
    sink.take();
    return { machine, domain, sink };
  }

  test.each(changesIn(mode))(
    '$name: the ledger is the tables',
    async ({ before, change, mappings, switches }) => {
      const { machine, domain, sink } = await plugged(before, switches);

      await change(machine, domain);

      expect(sink.ledger).toHaveLength(mappings);
      expect(sink.ledger).toEqual(await machine.expected());
    },
  );

  test('detached: nothing is mapped', async () => {
    const { machine, sink } = await plugged(mapOne, true);

    await machine.driver.detachDevice(SLOTS.express.requester);

    expect(sink.ledger).toEqual([]);
  });

  test('translation off: the device sees RAM one to one', async () => {
    const { machine, sink } = await plugged(mapOne, true);

    await machine.driver.setTranslation(false);

    expect(sink.sharedLedger).toEqual(RAM_UNTRANSLATED);
  });

  test('a pass-through domain: the device sees RAM one to one', async () => {
    const { machine, sink } = await plugged(mapOne, true);

    await machine.driver.switchDomain(SLOTS.express.requester, machine.driver.passThroughDomain());

    expect(sink.sharedLedger).toEqual(RAM_UNTRANSLATED);
  });
});

async function mapOne({ driver }: QemuMachine, domain: GuestDomain): Promise<void> {
  await driver.map(domain, 0x400, MIB2, HIGH + 0x400, Access.ReadWrite, { leafPages: MIB2 });
}
