/** A guest with many single pages mapped, for tests in which somebody dies. @module */
import { expect } from 'vitest';
import type { GuestDomain } from '../../../src/guests/index.ts';
import { Access } from '../../../src/memory/index.ts';
import { HIGH } from '../../../src/qemu/index.ts';
import type { PlugOptions, QemuMachine } from './qemu-machine.ts';
import { machineWithDomain } from './world.ts';

/** How many there are, and how many {@link mapMore} adds. */
export const PAGES = 1000;

/** QEMU waits so long for the answer of a server that has died meanwhile. */
export const PATIENCE: PlugOptions = { timeout: 2000 };

const FIRST = 0x10_0000;
const MORE = 0x20_0000;

/** A machine whose guest has mapped {@link PAGES} pages for the device. */
export async function machineWithPages(): Promise<{ machine: QemuMachine; domain: GuestDomain }> {
  const { machine, domain } = await machineWithDomain();
  await machine.driver.map(domain, FIRST, PAGES, HIGH, Access.ReadWrite, { leafPages: 1 });
  return { machine, domain };
}

/** The guest maps as many again, unless QEMU dies of it. */
export async function mapMore({ driver }: QemuMachine, domain: GuestDomain): Promise<void> {
  const mapped = driver.map(domain, MORE, PAGES, HIGH, Access.Read, { leafPages: 1 });
  await Promise.resolve(mapped).catch(() => undefined);
}

/** The guest rewrites all pages again and again until QEMU is gone. */
export async function changeUntilGone({ driver }: QemuMachine, domain: GuestDomain): Promise<void> {
  for (let i = 1; i < 100; i++) {
    try {
      // eslint-disable-next-line no-await-in-loop -- a guest that goes on
      await driver.remap(domain, FIRST, PAGES, Access.ReadWrite, HIGH + i);
    } catch {
      return;
    }
  }
  throw new Error('QEMU was not killed');
}

/**
 * R20: QEMU 11.1.3 aborts when a connection ends while it waits for the answer to a map or an unmap, and goes on when it
 * does not wait.
 */
export async function expectAliveOrR20({ qemu }: QemuMachine): Promise<void> {
  const alive = await qemu.qmp.execute('query-status').then(
    () => true,
    () => false,
  );
  if (alive) return;
  await qemu.exited;
  expect(qemu.stderr).toContain("error_setv: Assertion `*errp == NULL' failed");
}
