import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll } from 'vitest';
import { type Capture, readCapture } from '../../src/guests/capture.ts';

/** A small capture that is in order; tests change what they are about. */
export function goodJson(): Record<string, unknown> {
  return {
    format: 'viommu-capture/1',
    name: 'small',
    description: 'two leaves',
    iommu: { model: 'vtd', registers: { base: '0xfed90000', hex: '10ff'.repeat(20) } },
    ram: [
      { gpa: '0x100000000', size: '0x1000000' },
      { gpa: '0x0', size: '0x80000000' },
    ],
    pci: [
      { bdf: '02:0A.0', vendor: '0x8086', device: '0x100e', class: '0x020000', group: '4', driver: 'e1000' },
      { bdf: '00:02.0', vendor: '0x1022', device: '0x1419', class: '0x080600', group: null, driver: null },
    ],
    plug: { requester: '02:00.0', bus: 'br1', addr: '2' },
    counts: { tables: 2 },
    files: { mappings: 'mappings.ndjson' },
    another: 'field that a later recorder may add',
  };
}

/** A new folder that is gone when the tests of the file are done. */
export async function temporaryFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'viommu-test-'));
  afterAll(() => rm(folder, { recursive: true }));
  return folder;
}

/** A capture folder with this capture.json (as it is when text) and these files. */
export async function folderOf(
  root: string,
  json: unknown,
  files: Record<string, string | Uint8Array> = {},
): Promise<string> {
  const folder = await mkdtemp(join(root, 'capture-'));
  await writeFile(join(folder, 'capture.json'), typeof json === 'string' ? json : JSON.stringify(json));
  for (const [name, content] of Object.entries(files)) {
    await writeFile(join(folder, name), content);
  }
  return folder;
}

/** The good capture with some fields of capture.json replaced, and with these files. */
export async function captureWith(
  root: string,
  fields: Record<string, unknown>,
  files: Record<string, string | Uint8Array> = {},
): Promise<Capture> {
  return readCapture(await folderOf(root, { ...goodJson(), ...fields }, files));
}
