/** Finds a QEMU that has vfio-user, so that tests without one are skipped and say why. @module */
import { describe } from 'vitest';
import { linuxPlatform } from '../../../src/linux/index.ts';
import { executableInPath, probeQemu } from '../../../src/qemu/index.ts';

/** The variable that names the QEMU to use, before PATH is searched. */
export const QEMU_VARIABLE = 'VIOMMU_QEMU';

const REMEDY = `run tools/get-qemu.sh and set ${QEMU_VARIABLE} to the path that it prints`;

/** vfio-user came earlier, but `-run-with exit-with-parent` and the behaviour that the tests state are of this release. */
const LEAST_RELEASE = 11;

type Found = { readonly path: string } | { readonly missing: string };

/** QEMU's executable, or why it cannot be tested with. Runs it twice. */
export function findQemu(environment: NodeJS.ProcessEnv = process.env): Found {
  const { mode, why } = linuxPlatform();
  if (mode === 'messages') return { missing: why ?? 'descriptors cannot be passed here' };
  const named = environment[QEMU_VARIABLE];
  const path = named || executableInPath('qemu-system-x86_64', environment['PATH'] ?? '');
  if (path === undefined) return { missing: `no qemu-system-x86_64 in PATH; ${REMEDY}` };
  const build = probeQemu(path);
  if (typeof build === 'string') return { missing: `${build}; ${REMEDY}` };
  if (Number.parseInt(build.version, 10) < LEAST_RELEASE) {
    const why = `${path} is QEMU ${build.version}, and these tests are for ${LEAST_RELEASE} and later`;
    return { missing: `${why}; ${REMEDY}` };
  }
  if (build.devices.has('vfio-user-pci')) return { path };
  return { missing: `${path} was built without vfio-user-pci; ${REMEDY}` };
}

const found = findQemu();
if ('missing' in found) console.log(`tests with QEMU are skipped: ${found.missing}`);

/** QEMU's executable; empty where there is none, and then {@link describeQemu} skips its suites. */
export const QEMU: string = 'path' in found ? found.path : '';

/** `describe` for suites that need QEMU. */
export const describeQemu: typeof describe = QEMU === '' ? (describe.skip as typeof describe) : describe;
