import { onTestFinished } from 'vitest';
import type { GuestDomain } from '../../../src/guests/index.ts';
import { QemuMachine, type QemuMachineOptions, SLOTS } from './qemu-machine.ts';

/** Modes in which QEMU's unit has second-stage tables. */
export const MODES: readonly ('legacy' | 'scalable')[] = ['legacy', 'scalable'];

/** A machine whose device in the root port has a domain; killed when the test is over. */
export async function machineWithDomain(
  options: QemuMachineOptions = {},
): Promise<{ machine: QemuMachine; domain: GuestDomain }> {
  const machine = await QemuMachine.start(options);
  onTestFinished(() => machine.kill());
  const domain = machine.driver.createDomain({ levels: options.awBits === 39 ? 3 : 4 });
  await machine.driver.attachDevice(SLOTS.express.requester, domain);
  return { machine, domain };
}
