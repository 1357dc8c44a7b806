/** What a guest does to the tables of a device that is plugged already: each change ends with the unit being told. @module */
import type { GuestDomain } from '../../../src/guests/index.ts';
import { Access } from '../../../src/memory/index.ts';
import { GIB1, MIB2, rewriteLeaves } from './edits.ts';
import { HIGH } from '../../../src/qemu/index.ts';
import { type QemuMachine, SLOTS } from './qemu-machine.ts';

/** A guest's doings, in two steps. */
export interface Change {
  readonly name: string;
  /** What is there when the device is plugged. */
  readonly before?: (machine: QemuMachine, domain: GuestDomain) => void | Promise<void>;
  readonly change: (machine: QemuMachine, domain: GuestDomain) => void | Promise<void>;
  /** Mappings that there must be afterwards. */
  readonly mappings: number;
  /** The device gets other tables. */
  readonly switches?: true;
  /** In scalable mode QEMU goes wrong there: see R19. */
  readonly legacyOnly?: true;
}

/** 64 pages from 0x1000 on, which most changes work on. */
async function sixtyFour({ driver }: QemuMachine, domain: GuestDomain): Promise<void> {
  await driver.map(domain, 0x1000, 64, HIGH + 0x100, Access.ReadWrite, { leafPages: 1 });
}

/** One 2 MiB leaf at 0x400 and one of 1 GiB at 0x80000. */
async function large({ driver }: QemuMachine, domain: GuestDomain): Promise<void> {
  await driver.map(domain, 0x400, MIB2, HIGH + 0x400, Access.ReadWrite, { leafPages: MIB2 });
  await driver.map(domain, 0x8_0000, GIB1, HIGH, Access.ReadWrite, { leafPages: GIB1 });
}

async function otherDomain(machine: QemuMachine): Promise<GuestDomain> {
  const other = machine.driver.createDomain({ levels: 4 });
  await machine.driver.map(other, 0x1020, 48, HIGH + 0x120, Access.ReadWrite, { leafPages: 1 });
  await machine.driver.map(other, 0x9000, 3, HIGH + 0x900, Access.Read, { leafPages: 1 });
  return other;
}

/** Changes after which QEMU's ledger is the tables. */
export function changesIn(mode: 'legacy' | 'scalable'): readonly Change[] {
  return CHANGES.filter(({ legacyOnly }) => mode === 'legacy' || legacyOnly !== true);
}

const CHANGES: readonly Change[] = [
  {
    name: 'pages are mapped, page-selective',
    change: sixtyFour,
    mappings: 64,
  },
  {
    name: 'read-only and write-only pages are mapped',
    change: async ({ driver }, domain) => {
      await driver.map(domain, 0x1000, 3, HIGH, Access.Read, { leafPages: 1 });
      await driver.map(domain, 0x1003, 3, HIGH, Access.Write, { leafPages: 1 });
    },
    mappings: 6,
  },
  {
    name: 'single pages are unmapped, page-selective',
    before: sixtyFour,
    change: async ({ driver }, domain) => {
      for (const iova of [0x1000, 0x1011, 0x103f]) await driver.unmap(domain, iova, 1);
    },
    mappings: 61,
  },
  {
    name: 'everything is unmapped, tables and all',
    before: sixtyFour,
    change: async ({ driver }, domain) => driver.unmap(domain, 0, domain.end),
    mappings: 0,
  },
  {
    name: 'leaves are rewritten, and the domain is invalidated',
    before: sixtyFour,
    change: async (machine, domain) => {
      rewriteLeaves(machine, domain, 0x1008, 16, (iova) =>
        iova % 2 === 0 ? undefined : { target: iova + 0x500, access: Access.Read },
      );
      await machine.driver.invalidateIotlb({ domain: domain.id });
    },
    mappings: 56,
  },
  {
    name: 'leaves are rewritten, and everything is invalidated',
    before: sixtyFour,
    change: async (machine, domain) => {
      rewriteLeaves(machine, domain, 0x1008, 16, (iova) => ({ target: iova, access: Access.ReadWrite }));
      await machine.driver.invalidateIotlb('global');
    },
    mappings: 64,
  },
  {
    name: 'a page is rewritten, and 16 around it are invalidated',
    before: sixtyFour,
    change: async (machine, domain) => {
      rewriteLeaves(machine, domain, 0x1015, 1, () => ({ target: 0x77, access: Access.ReadWrite }));
      await machine.driver.invalidateIotlb({ domain: domain.id, iova: 0x1010, am: 4 });
    },
    mappings: 64,
  },
  {
    name: 'read-write pages become read-only',
    before: sixtyFour,
    change: ({ driver }, domain) => driver.remap(domain, 0x1000, 64, Access.Read),
    mappings: 64,
  },
  {
    name: 'read-only pages become read-write',
    before: ({ driver }, domain) => driver.map(domain, 0x1000, 8, HIGH, Access.Read, { leafPages: 1 }),
    change: ({ driver }, domain) => driver.remap(domain, 0x1002, 4, Access.ReadWrite),
    mappings: 8,
  },
  {
    name: 'pages are remapped to other places',
    before: sixtyFour,
    change: ({ driver }, domain) => driver.remap(domain, 0x1004, 8, Access.ReadWrite, 0x3000),
    mappings: 64,
  },
  {
    name: '2 MiB and 1 GiB leaves are mapped',
    change: large,
    mappings: 2,
  },
  {
    name: '2 MiB and 1 GiB leaves are unmapped',
    before: large,
    change: async ({ driver }, domain) => {
      await driver.unmap(domain, 0x400, MIB2);
      await driver.unmap(domain, 0x8_0000, GIB1);
    },
    mappings: 0,
  },
  {
    name: 'a 2 MiB leaf is remapped, and made read-only',
    before: large,
    change: async ({ driver }, domain) => {
      await driver.remap(domain, 0x400, MIB2, Access.ReadWrite, 0x1_0000);
      await driver.remap(domain, 0x400, MIB2, Access.Read);
    },
    mappings: 2,
  },
  {
    name: 'a 2 MiB leaf is unmapped, and single pages take its place',
    before: large,
    change: async ({ driver }, domain) => {
      await driver.unmap(domain, 0x400, MIB2);
      await driver.map(domain, 0x480, 8, HIGH, Access.ReadWrite, { leafPages: 1 });
    },
    mappings: 9,
  },
  {
    name: 'nothing is changed, and everything is invalidated, three ways',
    before: sixtyFour,
    change: async ({ driver }, domain) => {
      await driver.invalidateIotlb({ domain: domain.id, iova: 0x1000, am: 6 });
      await driver.invalidateIotlb({ domain: domain.id });
      await driver.invalidateIotlb('global');
    },
    mappings: 64,
  },
  {
    name: 'nothing is changed, and the context cache is invalidated',
    before: sixtyFour,
    change: ({ driver }) => driver.invalidateContext('global'),
    mappings: 64,
  },
  {
    name: 'the device is switched to a domain that shares some mappings, to the page',
    before: sixtyFour,
    change: async (machine) => {
      await machine.driver.switchDomain(SLOTS.express.requester, await otherDomain(machine));
    },
    mappings: 51,
    switches: true,
  },
  {
    name: 'the device is switched to another domain and back',
    before: sixtyFour,
    change: async (machine, domain) => {
      await machine.driver.switchDomain(SLOTS.express.requester, await otherDomain(machine));
      await machine.driver.switchDomain(SLOTS.express.requester, domain);
    },
    mappings: 64,
    switches: true,
    legacyOnly: true,
  },
  {
    name: 'a domain that the device is not in changes',
    before: sixtyFour,
    change: async (machine) => {
      const other = await otherDomain(machine);
      await machine.driver.unmap(other, 0x1020, 48);
    },
    mappings: 64,
  },
  {
    name: 'the device is taken out of its domain and put back',
    before: sixtyFour,
    change: async ({ driver }, domain) => {
      await driver.detachDevice(SLOTS.express.requester);
      await driver.attachDevice(SLOTS.express.requester, domain);
    },
    mappings: 64,
    switches: true,
  },
  {
    name: 'translation is turned off and on again',
    before: sixtyFour,
    change: async ({ driver }) => {
      await driver.setTranslation(false);
      await driver.setTranslation(true);
    },
    mappings: 64,
  },
  {
    name: 'tables change while translation is off',
    before: sixtyFour,
    change: async ({ driver }, domain) => {
      await driver.setTranslation(false);
      await driver.unmap(domain, 0x1000, 32);
      await driver.map(domain, 0x2000, 5, 0x2000, Access.ReadWrite, { leafPages: 1 });
      await driver.setTranslation(true);
    },
    mappings: 37,
  },
];
