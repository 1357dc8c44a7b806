/** What a guest's driver would not do by itself: tables edited by hand, and what QEMU must be told beyond the book. @module */
import type { GuestDomain } from '../../../src/guests/index.ts';
import { Access } from '../../../src/memory/index.ts';
import { HIGH } from '../../../src/qemu/index.ts';
import type { QemuMachine } from './qemu-machine.ts';

/** Pages of the large leaves. */
export const MIB2 = 0x200;
export const GIB1 = 0x4_0000;

/**
 * R3: the 2 MiB leaf at 0x400 gives way to a table in which page 0x405 alone is mapped, to the tenth page above 4 GiB,
 * and that page is invalidated.
 */
export async function splitLeaf({ driver }: QemuMachine, domain: GuestDomain): Promise<void> {
  const table = driver.allocatePage();
  const target = HIGH + 9;
  driver.writeEntry(table, 5, (target << 12) | Access.ReadWrite, target >>> 20);
  driver.writeEntry(domain.tables?.tableAt(0x400, 2) ?? Number.NaN, 2, (table << 12) | Access.ReadWrite, 0);
  await driver.invalidateIotlb({ domain: domain.id, iova: 0x405, am: 0 });
}

/** Writes leaves of single pages over what is there, and tells nobody. A table for them must be there. */
export function rewriteLeaves(
  { driver }: QemuMachine,
  domain: GuestDomain,
  iova: number,
  pages: number,
  leaf: (iova: number) => { readonly target: number; readonly access: Access } | undefined,
): void {
  const table = domain.tables?.tableAt(iova, 1);
  if (table === undefined) throw new Error(`there is no table for page 0x${iova.toString(16)}`);
  for (let page = iova; page < iova + pages; page++) {
    const { target, access } = leaf(page) ?? { target: 0, access: Access.None };
    driver.writeEntry(table, page % 512, ((target << 12) | access) >>> 0, Math.floor(target / 2 ** 20));
  }
}

/**
 * R19: QEMU's unit remembers PASID-table entries, but not the one under which a device was plugged, and so ignores the
 * invalidation that tells of its end. After a global invalidation of the context cache it has looked.
 */
export async function letQemuLook(machine: QemuMachine, mode: 'legacy' | 'scalable'): Promise<void> {
  if (mode === 'scalable') await machine.driver.invalidateContext('global');
}
