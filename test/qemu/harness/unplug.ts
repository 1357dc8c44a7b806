/** What a guest does when a device is to be unplugged: it lets it go. @module */
import type { QemuProcess } from '../../../src/qemu/index.ts';

/** Ports of a q35 machine's ACPI hotplug controller: a bus is selected, then bits are read or written for its slots. */
const HOTPLUG_DOWN = 0xcc4;
const HOTPLUG_EJECT = 0xcc8;
const HOTPLUG_BUS = 0xcd0;
const HOTPLUG_BUSES = 8;

/** Unplugs the device with this id. Resolves when QEMU says that it is gone. */
export async function unplugFrom({ qmp, qtest }: QemuProcess, id: string): Promise<void> {
  const gone = qmp.next('DEVICE_DELETED');
  const eject = async (): Promise<void> => {
    await qmp.execute('device_del', { id });
    for (let bus = 0; bus < HOTPLUG_BUSES; bus++) {
      await qtest.outPort(HOTPLUG_BUS, bus, 4);
      const slots = await qtest.inPort(HOTPLUG_DOWN, 4);
      if (slots !== 0) await qtest.outPort(HOTPLUG_EJECT, slots, 4);
    }
  };
  await Promise.all([eject(), gone]);
}
