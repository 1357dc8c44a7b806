import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';

/** A folder for the socket files of one test, gone when the test is. */
export function socketFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'viommu-qemu-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}
