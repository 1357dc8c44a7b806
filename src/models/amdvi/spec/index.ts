/**
 * AMD-Vi as the AMD I/O Virtualization Technology (IOMMU) Specification (48882) lays it out: registers, capabilities,
 * tables, commands and events, without behaviour. Section numbers are those of revision 3.
 *
 * @module
 */

export * from '../../layout.ts';
export type { RegisterWord } from '../../register-file.ts';
export * from './capability.ts';
export * from './commands.ts';
export * from './device-table.ts';
export * from './events.ts';
export * from './faults.ts';
export * from './page-table.ts';
export * from './register-words.ts';
export * from './registers.ts';
