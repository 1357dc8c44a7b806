/**
 * Intel VT-d as the specification lays it out: registers, capabilities, tables, faults and descriptors, without
 * behaviour. Section numbers are those of revision 4.1.
 *
 * @module
 */

export * from '../../layout.ts';
export type { RegisterWord } from '../../register-file.ts';
export * from './capability-registers.ts';
export * from './capability.ts';
export * from './descriptors.ts';
export * from './fault-record.ts';
export * from './faults.ts';
export * from './first-stage.ts';
export * from './invalidation.ts';
export * from './pasid.ts';
export * from './register-file.ts';
export * from './registers.ts';
export * from './root-context.ts';
export * from './second-stage.ts';
