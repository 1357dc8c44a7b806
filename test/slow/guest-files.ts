/** The kernel, the module and the shell of a small Linux guest, as tools/get-qemu.sh --kernel gets them. @module */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { QEMU } from '../qemu/harness/find-qemu.ts';
import { cpioArchive, directory, executable } from './cpio.ts';

/** The variable that names the folder, before `kernel` beside QEMU's wrapper is tried. */
export const KERNEL_VARIABLE = 'VIOMMU_KERNEL';

const FILES = ['vmlinuz', 'busybox', 'modules'];

/** The folder with the guest's files, or undefined when there is none. */
export function findGuestFiles(environment: NodeJS.ProcessEnv = process.env): string | undefined {
  const folder = environment[KERNEL_VARIABLE] || join(dirname(QEMU), 'kernel');
  return QEMU !== '' && FILES.every((file) => existsSync(join(folder, file))) ? folder : undefined;
}

/** An initial file system that runs `script` in busybox's shell, with the e1000 module of the kernel as /e1000.ko. */
export function initramfs(folder: string, script: string): Uint8Array {
  const modules = join(folder, 'modules');
  const e1000 = readdirSync(modules).find((name) => name.startsWith('e1000.ko'));
  if (e1000 === undefined) throw new Error(`${modules} has no e1000 module; run tools/get-qemu.sh --kernel`);
  return cpioArchive([
    ...['bin', 'dev', 'proc', 'sys'].map(directory),
    { path: 'dev/console', mode: 0o020600, device: [5, 1] },
    executable('bin/busybox', readFileSync(join(folder, 'busybox'))),
    executable(e1000, readFileSync(join(modules, e1000))),
    executable('init', Buffer.from(`#!/bin/busybox sh\nmodule=/${e1000}\n${script}`)),
  ]);
}
