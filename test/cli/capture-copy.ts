import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll } from 'vitest';

/** capture.json, as far as tests change it. */
export interface CaptureFile {
  iommu: { model: string; registers: { base: string; hex: string }; finalRegisters?: unknown };
  ram: { gpa: string; size: string }[];
  files: Record<string, unknown>;
  [field: string]: unknown;
}

/** Copies of capture folders with a changed capture.json; gone when the tests of the file are done. */
export function captureCopies(): (folder: string, change?: (json: CaptureFile) => void) => string {
  const root = mkdtempSync(join(tmpdir(), 'viommu-cli-captures-'));
  afterAll(() => rmSync(root, { recursive: true }));
  return (folder, change) => {
    const copy = mkdtempSync(join(root, 'capture-'));
    cpSync(folder, copy, { recursive: true });
    const file = join(copy, 'capture.json');
    const json = JSON.parse(readFileSync(file, 'utf8')) as CaptureFile;
    change?.(json);
    writeFileSync(file, JSON.stringify(json));
    return copy;
  };
}

/** The same registers with one 32-bit word replaced. */
export function withWord(
  registers: CaptureFile['iommu']['registers'],
  offset: number,
  change: (word: number) => number,
): CaptureFile['iommu']['registers'] {
  const bytes = Buffer.from(registers.hex, 'hex');
  bytes.writeUInt32LE(change(bytes.readUInt32LE(offset)) >>> 0, offset);
  return { base: registers.base, hex: bytes.toString('hex') };
}

/** Registers with GSTS_REG.TES clear. */
export function withoutTranslation(
  registers: CaptureFile['iommu']['registers'],
): CaptureFile['iommu']['registers'] {
  return withWord(registers, 0x1c, (gsts) => gsts & 0x7fffffff);
}
