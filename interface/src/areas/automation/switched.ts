/** What a list of things that go on and off shows of each: rules, schedules, webhooks. */
export interface Switched {
  id: string;
  name: string;
  owner: string;
  enabled: boolean;
}

export interface SwitchedWords {
  title: string;
  lead: string;
  add: string;
  search: string;
  empty: string;
  emptyText: string;
  nothing: (text: string) => string;
  isOn: (name: string) => string;
  turnedOn: (name: string) => string;
  turnedOff: (name: string) => string;
}
