/**
 * A real QEMU without a guest: its memory, ports and registers driven over qtest, its devices plugged over QMP. Needs
 * Node, Linux and a QEMU.
 *
 * @module
 */
export * from './amdvi-registers.ts';
export * from './find-qemu.ts';
export * from './guest-ram.ts';
export * from './pci-config.ts';
export * from './qemu-process.ts';
export * from './qmp-client.ts';
export * from './qtest-client.ts';
export * from './vfio-user-sink.ts';
export * from './qtest-registers.ts';
export * from './virtio-pci-transport.ts';
export * from './vtd-registers.ts';
