import { readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** The repository's root directory. */
export const root: string = fileURLToPath(new URL('../..', import.meta.url));

/** Who may import whom: each room with every room it may import from. */
export const mayImport: Readonly<Record<string, readonly string[]>> = {
  memory: [],
  iommu: ['memory'],
  models: ['memory', 'iommu'],
  pci: ['memory', 'iommu'],
  vfio: ['memory', 'iommu'],
  'vfio-user': ['memory', 'iommu', 'vfio'],
  linux: ['memory', 'iommu', 'vfio', 'vfio-user'],
  devices: ['memory', 'iommu', 'vfio', 'vfio-user'],
  machine: ['memory', 'iommu', 'models', 'pci', 'vfio'],
  guests: ['memory', 'iommu', 'models'],
  qemu: ['memory', 'iommu', 'models', 'vfio', 'vfio-user', 'linux', 'guests'],
  conform: [
    'memory',
    'iommu',
    'models',
    'pci',
    'vfio',
    'vfio-user',
    'linux',
    'devices',
    'machine',
    'guests',
    'qemu',
  ],
  cli: [
    'memory',
    'iommu',
    'models',
    'pci',
    'vfio',
    'vfio-user',
    'linux',
    'devices',
    'machine',
    'guests',
    'qemu',
    'conform',
  ],
};

/** The rooms that may use Node; every other one also runs in a browser. */
export const nodeRooms: readonly string[] = ['linux', 'guests', 'qemu', 'conform', 'cli'];

/** Names of all rooms, as in {@link mayImport}. */
export const rooms: readonly string[] = Object.keys(mayImport);

/** The directories that exist under src/. */
export function directoriesOfSrc(): string[] {
  return readdirSync(`${root}/src`, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map((entry) => entry.name);
}
