built_against: str
memory: object
