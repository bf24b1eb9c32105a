/** The names of a field that lists them, separated by commas. */
export const namesOf = (text: string): string[] => text.split(',').map((one) => one.trim()).filter(Boolean)
