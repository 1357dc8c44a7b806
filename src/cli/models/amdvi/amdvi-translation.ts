/** AMD-Vi's translations and faults as the commands show them. @module */
import { Access, formatPage, type TranslationFault } from '../../../memory/index.ts';
import { type DeviceTranslation, spec } from '../../../models/amdvi/index.ts';
import { plural } from '../../terminal/text.ts';
import type { FaultWords } from '../fault-words.ts';
import type { Translation } from '../translation.ts';

/** The event under which a fault is logged, and its reason. */
export function amdviFault({ code, reason }: TranslationFault): FaultWords {
  const condition = spec.EVENT_NAMES[spec.eventCodeOf(code)] ?? 'unknown';
  // The models' reasons begin with the name of the event.
  const words = reason.startsWith(`${condition}: `) ? reason.slice(condition.length + 2) : reason;
  return { code, condition, reason: words };
}

/** A requester's translation for people and programs. */
export function translationOf(translation: DeviceTranslation): Translation {
  switch (translation.kind) {
    case 'fault':
      return { kind: 'fault', fault: amdviFault(translation.fault) };
    case 'pass-through': {
      const text = 'pass-through: every address to itself, because V is 0 in the device table entry';
      return { kind: 'pass-through', text, domain: undefined };
    }
    case 'identity': {
      const { domain, access } = translation;
      const text = `pass-through (Mode 0): every address to itself, ${permissionOf(access)}; domain ${domain}`;
      return { kind: 'pass-through', text, domain };
    }
    case 'tables': {
      const { domain, root, levels, access } = translation;
      const limit = access === Access.ReadWrite ? '' : `, ${permissionOf(access)} at the most`;
      const text = `host tables: ${plural(levels, 'level')} at ${formatPage(root)}${limit}, domain ${domain}`;
      const key = `${root} ${levels} ${access}`;
      return { kind: 'mapped', by: 'host-tables', text, domain, key, shared: 'tables' };
    }
  }
}

/** IR and IW in words. */
export function permissionOf(access: number): string {
  return ['nothing permitted', 'R', 'W', 'R W'][access & 3] ?? '';
}
