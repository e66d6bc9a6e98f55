print('mine: string')
