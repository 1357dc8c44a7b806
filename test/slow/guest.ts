/** A Linux guest in QEMU, with an e1000 behind a PCIe-to-PCI bridge whose DMA goes through the VT-d unit. @module */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { AddressSpace } from '../../src/memory/index.ts';
import { type MappedFile, mapFile } from '../../src/linux/index.ts';
import { QEMU } from '../qemu/harness/find-qemu.ts';
import { QemuProcess, sharedGuestMemory, VTD_BASE } from '../../src/qemu/index.ts';
import { initramfs } from './guest-files.ts';

const RAM_BYTES = 256 * 2 ** 20;
/** The guest's word that it is up. */
const UP = 'viommu-guest: up';
/** What of the unit's registers a dump holds, in 32-bit words. */
const DUMP_WORDS = 0x230 / 4;

/** Addresses are those of QEMU's user-mode network. */
function bootScript(port: number): string {
  return `
b=/bin/busybox
$b mount -t devtmpfs none /dev
$b mount -t proc none /proc
$b mount -t sysfs none /sys
$b insmod $module
$b ifconfig eth0 10.0.2.15 netmask 255.255.255.0 up
$b dmesg | $b grep -i -e dmar: -e iommu:
echo ${UP}
while :; do
  $b nc 10.0.2.2 ${port} </dev/zero >/dev/null 2>&1
  $b usleep 100000
done
`;
}

/** The guest runs until it is killed. */
export class LinuxGuest {
  readonly qemu: QemuProcess;
  readonly memory: AddressSpace;
  readonly #ram: MappedFile;
  #console = '';

  private constructor(qemu: QemuProcess, ram: MappedFile) {
    this.qemu = qemu;
    this.#ram = ram;
    this.memory = sharedGuestMemory(ram);
  }

  /** Boots the kernel in `files`; the guest then talks to `port` of this host without end. Its initial file system goes to `folder`. */
  static async boot(files: string, folder: string, port: number): Promise<LinuxGuest> {
    const initrd = join(folder, 'initramfs');
    writeFileSync(initrd, initramfs(files, bootScript(port)));
    const qemu = await QemuProcess.start({
      executable: QEMU,
      ramBytes: RAM_BYTES,
      processors: true,
      args: [
        ['-kernel', join(files, 'vmlinuz'), '-initrd', initrd],
        ['-append', 'console=ttyS0 intel_iommu=on panic=-1', '-no-reboot'],
        ['-chardev', 'stdio,id=console,signal=off', '-serial', 'chardev:console'],
        ['-device', 'intel-iommu,caching-mode=on'],
        ['-device', 'pcie-root-port,id=rp1,chassis=1', '-device', 'pcie-pci-bridge,id=br1,bus=rp1'],
        ['-netdev', 'user,id=n', '-device', 'e1000,netdev=n,bus=br1,addr=1'],
      ].flat(),
    });
    const guest = new LinuxGuest(qemu, mapFile(qemu.ramFile));
    qemu.stdout.setEncoding('utf8').on('data', (text: string) => {
      guest.#console += text;
    });
    return guest;
  }

  /** Ends QEMU and lets go of its RAM: nothing of the guest can be used afterwards. */
  async kill(): Promise<void> {
    await this.qemu.kill();
    this.#ram.close();
  }

  /** Everything that the guest printed. */
  get console(): string {
    return this.#console;
  }

  /** Whether the guest has set up its network. */
  get up(): boolean {
    return this.#console.includes(UP);
  }

  /** The registers of the unit, by the monitor: qtest has no say in a machine with processors. */
  async registers(): Promise<Uint8Array> {
    const text = await this.qemu.qmp.human(`xp /${DUMP_WORDS}xw 0x${VTD_BASE.toString(16)}`);
    const words = text.split('\n').flatMap((line) => line.split(':')[1]?.trim().split(' ') ?? []);
    if (words.length !== DUMP_WORDS) throw new Error(`the monitor gave ${words.length} words: ${text}`);
    return new Uint8Array(Uint32Array.from(words, Number).buffer);
  }
}
